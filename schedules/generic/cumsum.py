"""Running sums along an axis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...targets.target import Target
from ...workload import Workload
from ..kernel import writing
from ..template import NotApplicable, template
from ..vectors import each_vector, extent, flat_view, lane_loop, nest, split_index, worth_sharing

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any


@template("cumsum", symbolic=True)
def cumsum(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Neighbouring runs are the lanes of a vector, one step of the axis after another; runs are shared among threads.

    With ``exclusive`` an element is not part of its own sum.
    """
    data, axis, exclusive = work.inputs[0], work.attr("axis"), work.attr("exclusive")
    if any(each.layout for each in (*work.inputs, *work.outputs)) or data.dtype in ("bool", "float16", "bfloat16"):
        raise NotApplicable
    head, size, tail = data.shape[:axis], data.shape[axis], data.shape[axis + 1 :]
    outer, inner = math.prod(head), math.prod(tail)
    with writing(work) as kernel:
        x, out = flat_view(kernel.inputs[0]), flat_view(kernel.outputs[0])
        with nest([outer], worth_sharing(outer * inner * size)) as (row,):

            def columns(start: Expr, width: int) -> None:
                total = T.alloc_buffer((width,), data.dtype)
                with lane_loop(width) as lane:
                    T.buffer_store(total, tirx.const(0, data.dtype), [lane])
                with T.serial(0, extent(size)) as step, lane_loop(width) as lane:
                    place = (row * extent(size) + step) * inner + start + lane
                    logical = [*split_index(row, head), step, *split_index(start + lane, tail)]
                    sums = total[lane] if exclusive else total[lane] + x[place]
                    T.buffer_store(out, kernel.finish(sums, logical), [place])
                    T.buffer_store(total, total[lane] + x[place], [lane])

            each_vector(inner, target.lanes(data.dtype), columns)
    assert kernel.function is not None
    return kernel.function
