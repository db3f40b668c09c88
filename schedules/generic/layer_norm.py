"""Layer normalization over the last axes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...targets.target import Target
from ...workload import Workload
from ..folds import SUM, fold_run
from ..kernel import writing
from ..low_precision import store_element
from ..template import NotApplicable, template
from ..vectors import each_vector, flat_view, lane_loop, nest, split_index, worth_sharing

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any


@template("layer_norm", dtypes=("float32",), symbolic=True)
def layer_norm(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Row by row: the mean, the variance about that mean, then the normalized values; a row stays in the nearest cache.

    Inputs x [..., N], gamma and beta of the shape of the normalized axes. Rows are shared among threads.
    """
    data = work.inputs[0]
    if any(each.layout for each in (*work.inputs, *work.outputs)) or data.dtype != "float32":
        raise NotApplicable
    axes = work.attr("axes")
    outer, inner = data.shape[: axes[0]], data.shape[axes[0] :]
    count = math.prod(inner)
    with writing(work) as kernel:
        x, gamma, beta = (flat_view(buffer) for buffer in kernel.inputs[:3])
        out = flat_view(kernel.outputs[0])
        with nest([math.prod(outer)], worth_sharing(math.prod(data.shape))) as (row,):
            moments = _moments(x, row * count, count, target.lanes(), work.attr("epsilon"))

            def normalize(start: Expr, lanes: int) -> None:
                with lane_loop(lanes) as lane:
                    at = start + lane
                    value = (x[row * count + at] - moments[0]) * moments[1] * gamma[at] + beta[at]
                    logical = [*split_index(row, outer), *split_index(at, inner)]
                    store_element(out, kernel.finish(value, logical), [row * count + at])

            each_vector(count, target.lanes(), normalize)
    assert kernel.function is not None
    return kernel.function


def _moments(x: Any, begin: Expr, count: int, lanes: int, epsilon: float) -> Any:
    """Emit the mean and the reciprocal standard deviation of a run; return the buffer of the two."""
    moments = T.alloc_buffer((2,), "float32")
    share = tirx.const(1.0 / count, "float32")
    total = fold_run(SUM, count, lanes, "float32", lambda at: x[begin + at])
    T.buffer_store(moments, total * share, [0])

    def square(at: Expr) -> Expr:
        difference = x[begin + at] - moments[0]
        return difference * difference

    spread = fold_run(SUM, count, lanes, "float32", square) * share
    root = tirx.sqrt(spread + tirx.const(epsilon, "float32"))
    T.buffer_store(moments, tirx.const(1.0, "float32") / root, [1])
    return moments
