"""Sampling at places that a grid names, as ONNX's GridSample and PyTorch's grid_sample define it."""

from __future__ import annotations

import operator
from functools import reduce
from typing import Any

from tvm import te, tirx

from .expressions import chosen, clamped, half_even, like
from .operator import tensor_function

Expr = Any

#: Elements along each axis that make one result.
TAPS = {"nearest": 1, "linear": 2, "cubic": 4}
#: The coefficient of the cubic kernel (Keys 1981).
_CUBIC = -0.75


@tensor_function("grid_sample")
def grid_sample(x: te.Tensor, grid: te.Tensor, *, mode: str, padding: str, align_corners: int) -> te.Tensor:
    """Samples [N, C, *O] of x [N, C, *S] at grid [N, *O, len(S)], whose last axis names the innermost axis first.

    Places run from -1 to 1 over the data: between the centres of its first and last elements with ``align_corners``,
    else between their outer edges.

    Args:
        mode: "nearest" (ties to even), "linear" or "cubic".
        padding: what lies outside: "zeros", "border" (the nearest element) or "reflection".
    """
    sizes = [int(size) for size in x.shape[2:]]
    results = list(grid.shape[1:-1])
    taps = TAPS[mode]
    edges = [(0.0, size - 1.0) if align_corners else (-0.5, size - 0.5) for size in sizes]

    def place(axis: int, point: Any) -> Expr:
        n, *at = point
        value = grid(n, *at, len(sizes) - 1 - axis)
        size = sizes[axis]
        value = (value + 1.0) * 0.5 * (size - 1) if align_corners else ((value + 1.0) * size - 1.0) * 0.5
        value = half_even(value) if mode == "nearest" else value
        return _inside(value, size, edges[axis], padding)

    def place_of(n: Expr, axis: Expr, *at: Expr) -> Expr:
        return chosen(axis, [place(each, (n, *at)) for each in range(len(sizes))])

    places = te.compute((grid.shape[0], len(sizes), *results), place_of, "places")

    def index_of(n: Expr, axis: Expr, tap: Expr, *at: Expr) -> Expr:
        first = te.floor(places(n, axis, *at)) + tirx.Cast(grid.dtype, tap - (taps - 1) // 2)
        return chosen(axis, [_tap(first, size, edge, padding) for size, edge in zip(sizes, edges, strict=True)])

    def weight_of(n: Expr, axis: Expr, tap: Expr, *at: Expr) -> Expr:
        rest = places(n, axis, *at) - te.floor(places(n, axis, *at))
        return chosen(tap, _weights(mode, rest))

    shape = (grid.shape[0], len(sizes), taps, *results)
    indices = te.compute(shape, index_of, "indices")
    weights = te.compute(shape, weight_of, "weights")
    axes = [te.reduce_axis((0, taps), f"tap{axis}") for axis in range(len(sizes))]

    def sample(n: Expr, c: Expr, *at: Expr) -> Expr:
        index = [indices(n, axis, tap, *at) for axis, tap in enumerate(axes)]
        weight = reduce(operator.mul, [weights(n, axis, tap, *at) for axis, tap in enumerate(axes)])
        value = x(n, c, *(te.max(each, 0) for each in index)) * tirx.Cast(x.dtype, weight)
        present = te.all(*(each >= 0 for each in index))
        return te.sum(te.if_then_else(present, value, tirx.const(0, x.dtype)), axis=axes)

    return te.compute((x.shape[0], x.shape[1], *results), sample, "samples")


def _inside(value: Expr, size: int, edges: tuple[float, float], padding: str) -> Expr:
    """Return a place as near to the data as the taps need it, so that no place overflows an index."""
    if padding == "reflection":
        value = _reflected(value, *edges)
    return clamped(value, -4, size + 3)


def _tap(index: Expr, size: int, edges: tuple[float, float], padding: str) -> Expr:
    """Return the element that an index names, -1 for none."""
    if padding == "reflection":
        index = te.trunc(_reflected(index, *edges))
    whole = tirx.Cast("int32", clamped(index, 0, size - 1))
    if padding != "zeros":
        return whole
    return tirx.Select(tirx.all(index >= 0.0, index <= size - 1.0), whole, tirx.const(-1, "int32"))


def _reflected(value: Expr, low: float, high: float) -> Expr:
    """Return a place mirrored at the edges until it lies between them."""
    span = high - low
    if span == 0:
        return like(value, low)
    away = te.abs(value - low)
    turns = te.floor(away / span)
    rest = away - turns * span
    even = turns - 2.0 * te.floor(turns * 0.5) < 0.5
    return tirx.Select(even, rest + low, high - rest)


def _weights(mode: str, rest: Expr) -> list[Expr]:
    if mode == "nearest":
        return [like(rest, 1)]
    if mode == "linear":
        return [1.0 - rest, rest]
    far = [_CUBIC * (((each - 5.0) * each + 8.0) * each - 4.0) for each in (rest + 1.0, 2.0 - rest)]
    near = [((_CUBIC + 2) * each - (_CUBIC + 3)) * each * each + 1.0 for each in (rest, 1.0 - rest)]
    return [far[0], near[0], near[1], far[1]]
