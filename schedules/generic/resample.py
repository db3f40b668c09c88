"""Images resized by tables of taps, planar or in channel blocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...targets.target import Target
from ...workload import Workload
from ..kernel import Kernel, unrolled_loop, writing
from ..template import NotApplicable, template
from ..vectors import PARALLEL_STEPS, each_vector, lane_loop, nest
from .pool2d import layouts

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any
_UNROLLED = 4  # output columns


@template("resample", layouts=layouts)
def resample(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Blend each result from its taps: rows first, then columns.

    Order: image, channel (block) and row (threads) > column. In blocks a vector is one pixel's channels, and nothing is
    stored between; a planar row of data is blended whole, vector by vector, before its columns are taken from it.
    """
    data, output = work.inputs[0], work.output
    if data.layout != output.layout or data.dtype != "float32":
        raise NotApplicable
    lanes = data.layout.blocks[1] if data.layout else 1
    batch, blocks, height, width = output.stored_shape[:4]
    effort = batch * blocks * height * width * work.inputs[1].shape[0] * work.inputs[3].shape[0] * lanes
    with (
        writing(work) as kernel,
        nest([batch, blocks, height], effort >= PARALLEL_STEPS, target.facts.cores) as (image, block, row),
    ):
        writer = _Row(kernel, image, block, row)
        if data.layout:
            writer.write_blocks(lanes)
        else:
            writer.write_planar(target.lanes())
    assert kernel.function is not None
    return kernel.function


class _Row:
    """Emits one row of the output of one channel or block of channels."""

    def __init__(self, kernel: Kernel, image: Expr, block: Expr, row: Expr) -> None:
        self.kernel, self.image, self.block, self.row = kernel, image, block, row
        self.data, rows, row_weights, self.columns, self.column_weights = kernel.inputs[:5]
        self.row_taps, self.column_taps = kernel.work.inputs[1].shape[0], kernel.work.inputs[3].shape[0]
        self.ys = T.alloc_buffer((self.row_taps,), "int32")
        self.weights = T.alloc_buffer((self.row_taps,), "float32")
        for tap in range(self.row_taps):
            T.buffer_store(self.ys, rows[tap, row], [tap])
            T.buffer_store(self.weights, row_weights[tap, row], [tap])

    def write_blocks(self, lanes: int) -> None:
        """Emit a row of vectors of channels."""
        width = self.kernel.work.output.shape[3]
        for start, steps, unroll in unrolled_loop(width, min(_UNROLLED, width)):
            with T.serial(0, steps) as step, T.unroll(0, unroll) as part, lane_loop(lanes) as lane:
                column = step * unroll + part + start
                value = self._columns(column, partial(self._rows, lane=(lane,)))
                self._store(value, self.block * lanes + lane, column)

    def write_planar(self, lanes: int) -> None:
        """Emit a row of one channel."""
        width = self.kernel.work.inputs[0].shape[3]
        blended = T.alloc_buffer((width,), "float32")

        def blend(start: Expr, count: int) -> None:
            with lane_loop(count) as lane:
                T.buffer_store(blended, self._rows(start + lane, ()), [start + lane])

        def take(start: Expr, count: int) -> None:
            with lane_loop(count) as lane:
                self._store(self._columns(start + lane, lambda x: blended[x]), self.block, start + lane)

        each_vector(width, lanes, blend)
        each_vector(self.kernel.work.output.shape[3], lanes, take)

    def _rows(self, column: Expr, lane: tuple[Expr, ...]) -> Expr:
        """Return a column of the data, blended over the taps of its rows."""
        total: Expr = None
        for tap in range(self.row_taps):
            term = self.data[(self.image, self.block, self.ys[tap], column, *lane)] * self.weights[tap]
            total = term if total is None else total + term
        return total

    def _columns(self, column: Expr, blended: Callable[[Expr], Expr]) -> Expr:
        """Return a result, blended over the taps of its columns."""
        total: Expr = None
        for tap in range(self.column_taps):
            term = blended(self.columns[tap, column]) * self.column_weights[tap, column]
            total = term if total is None else total + term
        return total

    def _store(self, value: Expr, channel: Expr, column: Expr) -> None:
        logical = [self.image, channel, self.row, column]
        self.kernel.store(self.kernel.finish(value, logical), logical)
