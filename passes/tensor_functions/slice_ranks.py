"""The order of slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import te, tirx
from tvm.tirx.script.builder import ir as T

from .loops import written
from .operator import tensor_function


@tensor_function("slice_ranks")
def slice_ranks(rows: te.Tensor) -> te.Tensor:
    """How many rows of [count, length] stand before each one, int64 [count]: the first difference decides.

    Equal rows have equal ranks; numbers that are no numbers differ from nothing.
    """
    count, length = (int(size) for size in rows.shape)

    def write(inputs: Sequence[Any], out: Any) -> None:
        data, sign = inputs[0], T.alloc_buffer((1,), "int32")
        with T.serial(0, count) as row:
            T.buffer_store(out, tirx.const(0, "int64"), [row])
            with T.serial(0, count) as other:
                T.buffer_store(sign, tirx.const(0, "int32"), [0])
                with T.serial(0, length) as at, T.If(tirx.EQ(sign[0], tirx.const(0, "int32"))), T.Then():
                    own, its = data[row, at], data[other, at]
                    below, above = (tirx.Cast("int32", each) for each in (its < own, own < its))
                    T.buffer_store(sign, below - above, [0])
                with T.If(sign[0] > tirx.const(0, "int32")), T.Then():
                    T.buffer_store(out, out[row] + tirx.const(1, "int64"), [row])

    return written((count,), "int64", [rows], write, "slice_ranks")
