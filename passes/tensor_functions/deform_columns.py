"""The columns of a deformable convolution (Dai et al. 2017, Zhu et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm import te, tirx

from .expressions import chosen, clamped
from .operator import tensor_function

Expr = Any


@tensor_function("deform_columns")
def deform_columns(
    x: te.Tensor,
    offset: te.Tensor,
    mask: te.Tensor,
    *,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    begin: Sequence[int],
) -> te.Tensor:
    """What every element of a kernel sees: [N, C, K, *O] of x [N, C, *S], linear between elements and zero outside.

    Args:
        offset: [N, G, K, len(S), *O], how far each element of the kernel is moved, for each group of channels.
        mask: [N, G, K, *O], what its value is multiplied with.
        kernel: the kernel's sizes, K elements in all.
        begin: padding before the first element.
    """
    sizes = [int(size) for size in x.shape[2:]]
    rank, count = len(sizes), math.prod(kernel)
    each_group = int(x.shape[1]) // int(offset.shape[1])
    shape = (*offset.shape[:3], rank, *offset.shape[4:])

    def place(n: Expr, g: Expr, k: Expr, axis: Expr, *at: Expr) -> Expr:
        inner = [math.prod(kernel[index + 1 :]) for index in range(rank)]
        fixed = [
            at[index] * strides[index] - begin[index] + (k // inner[index]) % kernel[index] * dilation[index]
            for index in range(rank)
        ]
        moved = tirx.Cast(offset.dtype, chosen(axis, fixed)) + offset(n, g, k, axis, *at)
        return chosen(axis, [clamped(moved, -2, size + 1) for size in sizes])

    places = te.compute(shape, place, "places")
    taps = [te.reduce_axis((0, 2), f"tap{axis}") for axis in range(rank)]

    def column(n: Expr, c: Expr, k: Expr, *at: Expr) -> Expr:
        g = c // each_group
        index, inside = [], []
        value = tirx.Cast(x.dtype, mask(n, g, k, *at))
        for axis, tap in enumerate(taps):
            low = te.floor(places(n, g, k, axis, *at))
            rest = places(n, g, k, axis, *at) - low
            value = value * tirx.Cast(x.dtype, tirx.Select(tap == 0, 1.0 - rest, rest))
            whole = tirx.Cast("int32", low) + tap
            inside += [whole >= 0, whole < sizes[axis]]
            index.append(te.max(te.min(whole, sizes[axis] - 1), 0))
        return te.sum(te.if_then_else(te.all(*inside), value * x(n, c, *index), tirx.const(0, x.dtype)), axis=taps)

    return te.compute((x.shape[0], x.shape[1], count, *shape[4:]), column, "columns")
