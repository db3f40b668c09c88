"""Permutation of axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...knobs import Knobs
from ...targets.target import Target
from ...workload import Workload
from ..kernel import writing
from ..strided_copy import StridedCopy
from ..strides import merged, row_major
from ..template import NotApplicable, template
from ..vectors import flat_view, split_index

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any


@template("transpose", symbolic=True)
def transpose(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Copy runs where the innermost axis stays, transpose tiles in registers where it does not.

    Adjacent axes that stay adjacent are one; the epilogue is applied on the way.
    """
    if any(each.layout for each in (*work.inputs, *work.outputs)):
        raise NotApplicable
    data, shape = work.inputs[0], work.output.shape
    strides = row_major(data.shape)
    source = [strides[axis] for axis in work.attr("axes")]
    loops = merged(shape, [source, row_major(shape)])
    with writing(work) as kernel:

        def finish(value: Expr, indices: list[Expr]) -> Expr:
            logical: list[Expr] = [0] * len(shape)
            for each, index in zip(loops, indices, strict=True):
                parts = split_index(index, [shape[dim] for dim in each.dims])
                for dim, part in zip(each.dims, parts, strict=True):
                    logical[dim] = part
            return kernel.finish(value, logical)

        StridedCopy(
            flat_view(kernel.inputs[0]),
            flat_view(kernel.outputs[0]),
            loops,
            copy_lanes(data.dtype, target),
            finish if work.epilogue else None,
            cores=target.facts.cores,
        ).emit()
    assert kernel.function is not None
    return kernel.function


def copy_lanes(dtype: str, target: Target) -> int:
    """Return the rows of a tile: a vector, 16 at most; one for booleans, of which there are no vectors."""
    return 1 if dtype == "bool" else min(16, target.lanes(dtype))
