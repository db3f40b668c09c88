"""Tensor functions written loop by loop, for what no expression of one element states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as T

#: Writes the loops over the operands' buffers and the result's.
Write = Callable[[Sequence[Any], Any], None]


def written(shape: Sequence[int], dtype: str, operands: Sequence[te.Tensor], write: Write, name: str) -> te.Tensor:
    """Return a tensor that ``write(operands, result)`` fills."""

    def body(inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
        with IRBuilder() as builder, T.attr(0, "pragma_scope", "seq"):
            write(inputs, outputs[0])
        # The attribute only holds the statements together.
        return builder.get().body

    # Buffers declared here begin where their memory does; those that te.extern declares may begin anywhere in it.
    inputs = [tirx.decl_buffer(each.shape, each.dtype, f"{name}_{at}") for at, each in enumerate(operands)]
    output = tirx.decl_buffer(tuple(shape), dtype, f"{name}_out")
    return te.extern(
        [tuple(shape)], list(operands), body, name=name, dtype=[dtype], in_buffers=inputs, out_buffers=[output]
    )
