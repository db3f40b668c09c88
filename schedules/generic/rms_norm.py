"""Root-mean-square normalization over the last axes."""

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


@template("rms_norm", dtypes=("float32",), symbolic=True)
def rms_norm(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Row by row: the mean square, then the scaled values (Zhang and Sennrich, NeurIPS 2019).

    Inputs x [..., N] and gamma of the shape of the normalized axes. Rows are shared among threads.
    """
    data = work.inputs[0]
    if any(each.layout for each in (*work.inputs, *work.outputs)):
        raise NotApplicable
    axes = work.attr("axes")
    outer, inner = data.shape[: axes[0]], data.shape[axes[0] :]
    count = math.prod(inner)
    with writing(work) as kernel:
        x, gamma = (flat_view(buffer) for buffer in kernel.inputs[:2])
        out = flat_view(kernel.outputs[0])
        with nest([math.prod(outer)], worth_sharing(math.prod(data.shape))) as (row,):
            begin = row * count
            scale = T.alloc_buffer((1,), "float32")
            squares = fold_run(SUM, count, target.lanes(), "float32", lambda at: x[begin + at] * x[begin + at])
            mean = squares * tirx.const(1.0 / count, "float32") + tirx.const(work.attr("epsilon"), "float32")
            T.buffer_store(scale, tirx.const(1.0, "float32") / tirx.sqrt(mean), [0])

            def normalize(start: Expr, lanes: int) -> None:
                with lane_loop(lanes) as lane:
                    at = start + lane
                    value = x[begin + at] * scale[0] * gamma[at]
                    logical = [*split_index(row, outer), *split_index(at, inner)]
                    store_element(out, kernel.finish(value, logical), [begin + at])

            each_vector(count, target.lanes(), normalize)
    assert kernel.function is not None
    return kernel.function
