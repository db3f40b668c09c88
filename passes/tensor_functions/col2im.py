"""Sums of overlapping blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm import te, tirx

from .operator import tensor_function

Expr = Any


@tensor_function("col2im")
def col2im(
    x: te.Tensor,
    *,
    image: Sequence[int],
    block: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int],
) -> te.Tensor:
    """An image [N, C, *image] from its blocks [N, C * prod(block), blocks]: elements that overlap are added.

    Args:
        pads: all begins, then all ends; what blocks hold there is dropped.
    """
    rank = len(image)
    counts = [
        (image[axis] + pads[axis] + pads[axis + rank] - dilation[axis] * (block[axis] - 1) - 1) // strides[axis] + 1
        for axis in range(rank)
    ]
    elements = math.prod(block)
    inside = [te.reduce_axis((0, size), f"k{axis}") for axis, size in enumerate(block)]

    def total(n: Expr, c: Expr, *at: Expr) -> Expr:
        row: Expr = c * elements
        column: Expr = 0
        valid = []
        for axis, k in enumerate(inside):
            start = at[axis] + pads[axis] - k * dilation[axis]
            which = te.floordiv(start, strides[axis])
            valid += [te.floormod(start, strides[axis]) == 0, which >= 0, which < counts[axis]]
            row = row + k * math.prod(block[axis + 1 :])
            column = column * counts[axis] + te.max(te.min(which, counts[axis] - 1), 0)
        return te.sum(te.if_then_else(te.all(*valid), x(n, row, column), tirx.const(0, x.dtype)), axis=inside)

    return te.compute((x.shape[0], int(x.shape[1]) // elements, *image), total, "image")
