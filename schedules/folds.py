"""Reduce a run of elements in vector registers: several accumulators, folded lane by lane at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ..dims import Dim
from .bindings import Expr, is_float
from .vectors import extent, lane_loop, powers_of_two

#: Vectors accumulated side by side, so that the additions' latency does not bound the loop.
ACCUMULATORS = 4


@dataclass(frozen=True)
class Fold:
    """An associative operation.

    Attributes:
        combine: of two values.
        identity: from the element type to the value that changes nothing.
    """

    combine: Callable[[Expr, Expr], Expr]
    identity: Callable[[str], Expr]


def _lowest(dtype: str) -> Expr:
    return tirx.const(float("-inf"), dtype) if is_float(dtype) else tirx.min_value(dtype)


def _highest(dtype: str) -> Expr:
    return tirx.const(float("inf"), dtype) if is_float(dtype) else tirx.max_value(dtype)


SUM = Fold(lambda a, b: a + b, lambda dtype: tirx.const(0, dtype))
PRODUCT = Fold(lambda a, b: a * b, lambda dtype: tirx.const(1, dtype))
MAXIMUM = Fold(tirx.max, _lowest)
MINIMUM = Fold(tirx.min, _highest)


def fold_run(fold: Fold, count: int, lanes: int, dtype: str, term: Callable[[Expr], Expr]) -> Expr:
    """Emit the reduction of a run of elements and return its result.

    Whole vectors go to several accumulators in turn; these are combined as a tree, halved down to one lane, and the
    narrower vectors of the run's tail join where the halves have their width.

    Args:
        fold: the operation.
        count: elements of the run, at least one.
        lanes: elements of the widest vector.
        dtype: the element type to accumulate in.
        term: the element at an index; it is called inside a vectorized loop and may emit stores before it returns.
    """
    if isinstance(count, Dim):
        return _fold_run_of_any(fold, count, lanes, dtype, term)
    while lanes > count:
        lanes //= 2
    whole = count // lanes
    rows = min(ACCUMULATORS, whole)
    sums = T.alloc_buffer((rows, lanes), dtype)
    with T.unroll(0, rows) as row, lane_loop(lanes) as lane:
        T.buffer_store(sums, fold.identity(dtype), [row, lane])

    def add(row: Expr, start: Expr, width: int) -> None:
        with lane_loop(width) as lane:
            value = term(start + lane)
            T.buffer_store(sums, fold.combine(sums[row, lane], value), [row, lane])

    with T.serial(0, whole // rows) as step, T.unroll(0, rows) as row:
        add(row, (step * rows + row) * lanes, lanes)
    for row in range(whole % rows):
        add(row, (whole - whole % rows + row) * lanes, lanes)
    _fold_rows(fold, sums, rows, lanes)
    tails = {width: start for start, _, width in powers_of_two(count, lanes) if width < lanes}
    while lanes > 1:
        lanes //= 2
        with lane_loop(lanes) as lane:
            T.buffer_store(sums, fold.combine(sums[0, lane], sums[0, lane + lanes]), [0, lane])
        if lanes in tails:
            add(0, tails[lanes], lanes)
    return sums[0, 0]


def _fold_run_of_any(fold: Fold, count: Dim, lanes: int, dtype: str, term: Callable[[Expr], Expr]) -> Expr:
    """Emit the reduction of a run of a size known only at run time; what no vector holds joins lane by lane."""
    rows = ACCUMULATORS
    whole, rest = divmod(count, lanes)
    sums = T.alloc_buffer((rows, lanes), dtype)
    with T.unroll(0, rows) as row, lane_loop(lanes) as lane:
        T.buffer_store(sums, fold.identity(dtype), [row, lane])

    def add(row: Expr, start: Expr, width: int) -> None:
        with lane_loop(width) as lane:
            value = term(start + lane)
            T.buffer_store(sums, fold.combine(sums[row, lane], value), [row, lane])

    with T.serial(0, extent(whole // rows)) as step, T.unroll(0, rows) as row:
        add(row, (step * rows + row) * lanes, lanes)
    with T.serial(0, extent(whole % rows)) as step:
        add(0, (step + extent(whole // rows * rows)) * lanes, lanes)
    with T.serial(0, extent(rest)) as step:
        add(0, step + extent(whole * lanes), 1)
    _fold_rows(fold, sums, rows, lanes)
    while lanes > 1:
        lanes //= 2
        with lane_loop(lanes) as lane:
            T.buffer_store(sums, fold.combine(sums[0, lane], sums[0, lane + lanes]), [0, lane])
    return sums[0, 0]


def _fold_rows(fold: Fold, sums: Any, rows: int, lanes: int) -> None:
    while rows > 1:
        half = (rows + 1) // 2
        for row in range(rows - half):
            with lane_loop(lanes) as lane:
                T.buffer_store(sums, fold.combine(sums[row, lane], sums[row + half, lane]), [row, lane])
        rows = half
