"""Writing a few steps into a cache."""

from __future__ import annotations

from typing import Any

from tvm import te

from .operator import tensor_function

Expr = Any


@tensor_function("tensor_scatter")
def tensor_scatter(cache: te.Tensor, update: te.Tensor, starts: te.Tensor, *, axis: int, circular: int) -> te.Tensor:
    """A copy of cache with update [.., steps, ..] written along an axis, in each example from its start on.

    Args:
        starts: [N], where the first step goes.
        circular: whether steps past the cache's end go to its beginning; else they are left out.
    """
    size, steps = int(cache.shape[axis]), int(update.shape[axis])

    def element(*at: Expr) -> Expr:
        step = at[axis] - starts(at[0]).astype("int64")
        step = te.floormod(step, size) if circular else step
        place = te.max(te.min(step, steps - 1), 0)
        written = te.all(step >= 0, step < steps)
        return te.if_then_else(written, update(*at[:axis], place, *at[axis + 1 :]), cache(*at))

    return te.compute(cache.shape, element, "written")
