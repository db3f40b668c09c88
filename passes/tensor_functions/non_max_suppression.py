"""Greedy suppression of boxes that overlap a better one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import te, tirx
from tvm.tirx.script.builder import ir as T

from .loops import written
from .operator import tensor_function

Expr = Any
#: A box's state until it is chosen or dropped.
_WAITING, _DROPPED = 0, -1


@tensor_function("non_max_suppression")
def non_max_suppression(
    boxes: te.Tensor,
    scores: te.Tensor,
    limit: te.Tensor,
    overlap: te.Tensor,
    least: te.Tensor,
    *,
    most: int,
    centers: int,
) -> te.Tensor:
    """NonMaxSuppression as ONNX states it: int64 [B, C, most + N], the chosen boxes and -1, then every box's state.

    The best waiting box is chosen, the first of equals; every waiting box that overlaps it by more than the threshold
    is dropped; and so on, up to the limit.

    Args:
        boxes: float32 [B, N, 4]: two opposite corners (y, x, y, x), or with ``centers`` (x, y, width, height).
        scores: float32 [B, C, N].
        limit: int64 [1], the most boxes chosen of a class.
        overlap: float32 [1], of the intersection over the union.
        least: float32 [1]; only greater scores count.
        most: how many boxes of a class the result has room for.
    """
    batch, classes, count = (int(each) for each in scores.shape)

    def write(inputs: Sequence[Any], out: Any) -> None:
        corners, points, limits, overlaps, leasts = inputs
        with T.grid(batch, classes) as (b, c):
            with T.serial(0, count) as n:
                waits = tirx.Select(points[b, c, n] > leasts[0], _int64(_WAITING), _int64(_DROPPED))
                T.buffer_store(out, waits, [b, c, most + n])
            with T.serial(0, most) as turn:
                T.buffer_store(out, _int64(-1), [b, c, turn])
                with T.If(tirx.Cast("int64", turn) < limits[0]), T.Then():
                    _choose_best(points, out, (b, c, turn), most, count)
                    with T.If(out[b, c, turn] >= 0), T.Then():
                        best = [_kept(each) for each in _edges(corners, b, out[b, c, turn], centers)]
                        with T.serial(0, count) as n:
                            shared = _overlaps(best, _edges(corners, b, n, centers), overlaps[0])
                            with T.If(tirx.all(out[b, c, most + n] == _WAITING, shared)), T.Then():
                                T.buffer_store(out, _int64(_DROPPED), [b, c, most + n])

    return written((batch, classes, most + count), "int64", [boxes, scores, limit, overlap, least], write, "suppressed")


def _choose_best(points: Any, out: Any, place: tuple[Expr, Expr, Expr], most: int, count: int) -> None:
    """Write the waiting box of the greatest score and end its waiting; -1 stays where none waits."""
    b, c, turn = place
    best = T.alloc_buffer((1,), "float32")
    T.buffer_store(best, tirx.const(0, "float32"), [0])
    with T.serial(0, count) as n:
        better = tirx.any(out[b, c, turn] < 0, points[b, c, n] > best[0])
        with T.If(tirx.all(out[b, c, most + n] == _WAITING, better)), T.Then():
            T.buffer_store(best, points[b, c, n], [0])
            T.buffer_store(out, tirx.Cast("int64", n), [b, c, turn])
    with T.If(out[b, c, turn] >= 0), T.Then():
        T.buffer_store(out, _int64(1), [b, c, most + out[b, c, turn]])


def _edges(corners: Any, image: Expr, box: Expr, centers: int) -> list[Expr]:
    """Return the least and the greatest place of a box along its two axes."""
    first, second, third, fourth = (corners[image, box, at] for at in range(4))
    if centers:
        return [first - third / 2.0, first + third / 2.0, second - fourth / 2.0, second + fourth / 2.0]
    return [te.min(first, third), te.max(first, third), te.min(second, fourth), te.max(second, fourth)]


def _overlaps(one: list[Expr], other: list[Expr], threshold: Expr) -> Expr:
    """Return whether the intersection over the union is greater than a threshold; boxes without area overlap none."""
    sides = [te.min(one[at + 1], other[at + 1]) - te.max(one[at], other[at]) for at in (0, 2)]
    shared = _kept(te.max(sides[0], 0.0) * te.max(sides[1], 0.0))
    areas = [(each[1] - each[0]) * (each[3] - each[2]) for each in (one, other)]
    ratio = _kept(shared / (areas[0] + areas[1] - shared))
    return tirx.all(shared > 0.0, ratio > threshold)


def _kept(value: Expr) -> Expr:
    buffer = T.alloc_buffer((1,), "float32")
    T.buffer_store(buffer, value, [0])
    return buffer[0]


def _int64(value: int) -> Expr:
    return tirx.const(value, "int64")
