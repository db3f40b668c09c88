"""Images resized by tables of taps, planar or in channel blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...targets.target import Target
from ...workload import Workload
from ..kernel import unrolled_loop, writing
from ..template import NotApplicable, template
from ..vectors import PARALLEL_STEPS, lane_loop, nest
from .pool2d import layouts

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any
_UNROLLED = 4  # output columns


@template("resample", layouts=layouts)
def resample(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Blend each result from its taps, one vector of channels or one element at a time; nothing is stored between.

    Order: image, channel block and row (threads) > column. The rows' weights are read once for a row.
    """
    data, output = work.inputs[0], work.output
    row_taps, column_taps = work.inputs[1].shape[0], work.inputs[3].shape[0]
    if data.layout != output.layout or data.dtype != "float32":
        raise NotApplicable
    lanes = data.layout.blocks[1] if data.layout else 1
    batch, blocks, height, width = output.stored_shape[:4]
    effort = batch * blocks * height * width * row_taps * column_taps * lanes
    with writing(work) as kernel:
        x, rows, row_weights, columns, column_weights = kernel.inputs[:5]
        with nest([batch, blocks, height], effort >= PARALLEL_STEPS, target.facts.cores) as (image, block, row):
            ys = T.alloc_buffer((row_taps,), "int32")
            weights = T.alloc_buffer((row_taps,), "float32")
            for tap in range(row_taps):
                T.buffer_store(ys, rows[tap, row], [tap])
                T.buffer_store(weights, row_weights[tap, row], [tap])

            def blended(column: Expr, lane: Expr) -> Expr:
                total: Expr = None
                for at in range(column_taps):
                    inner: Expr = None
                    for tap in range(row_taps):
                        place = (image, block, ys[tap], columns[at, column], lane)[: len(x.shape)]
                        term = x[place] * weights[tap]
                        inner = term if inner is None else inner + term
                    inner = inner * column_weights[at, column]
                    total = inner if total is None else total + inner
                return total

            for start, steps, unroll in unrolled_loop(width, min(_UNROLLED, width)):
                with T.serial(0, steps) as step, T.unroll(0, unroll) as part, lane_loop(lanes) as lane:
                    column = step * unroll + part + start
                    logical = [image, block * lanes + lane, row, column]
                    kernel.store(kernel.finish(blended(column, lane), logical), logical)
    assert kernel.function is not None
    return kernel.function
