"""Rows of a table of four or eight bits, unpacked one element after the other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...nbits import NIBBLES, depth_of
from ...targets.target import Target
from ...workload import Workload
from ..access import stored_indices
from ..kernel import Kernel, writing
from ..low_precision import LowBuffer
from ..template import template
from ..vectors import extent, worth_sharing
from .matmul import unravel
from .matmul_nbits import panels

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for rows as they are; a table that a product reads too lies in its panels, so that it is stored once."""
    if not work.attr("shared"):
        return work
    panel = panels(target)
    offset = [panel] * (work.anchor_arity - 3)
    rest = [None] * (len(work.inputs) - work.anchor_arity)
    return work.with_layouts((panel, panel, None, *offset, *rest), (None,))


@template("take_nbits", layouts=layouts, symbolic=True)
def unpacked_take_nbits(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Each row on one thread."""
    with writing(work) as kernel:
        _write(kernel)
    assert kernel.function is not None
    return kernel.function


def _write(kernel: Kernel) -> None:
    work = kernel.work
    table, indices = work.inputs[0], work.inputs[2]
    bits, block = work.attr("bits"), work.attr("block")
    depth, count = depth_of(table.shape, bits), math.prod(indices.shape)
    per_word = NIBBLES if bits == 4 else 1

    def constant(at: int, row: Expr, group: Expr) -> Expr:
        buffer = kernel.inputs[at]
        wide = LowBuffer(buffer, "bfloat16") if buffer.dtype == "uint16" else buffer
        return wide[tuple(stored_indices(work.inputs[at], [row, group]))]

    with (T.parallel if worth_sharing(count * depth) else T.serial)(0, extent(count)) as index:
        place = unravel(index, indices.shape)
        chosen = kernel.inputs[2][tuple(place)].astype("int32")
        row = tirx.floormod(chosen, tirx.const(table.shape[0], "int32"))
        with T.serial(0, depth // per_word) as word, T.unroll(0, per_word) as at:
            code = kernel.inputs[0][tuple(stored_indices(table, [row, word]))]
            if bits == 4:
                code = tirx.shift_right(tirx.shift_left(code, 28 - 4 * at), tirx.const(28, "int32"))
            k = word * per_word + at
            value = code.astype("float32") * constant(1, row, k // block)
            value = value + constant(3, row, k // block) if work.anchor_arity == 4 else value
            kernel.store(kernel.finish(value, [*place, k]), [*place, k])
