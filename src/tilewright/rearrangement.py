"""Rearrangements: results whose every element is one element of the operands, at a place known axis by axis.

Concatenation, slices, splits, pads, flips, repeats, nearest neighbours and permuted channels are all of this kind. An
axis is described by runs; along one axis the operands are joined, and places along it count through all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
#: The place of a result that is filled.
FILLED = -1


@dataclass(frozen=True)
class Run:
    """Neighbouring results along an axis: result ``o`` is element ``first + (o * step + shift) // every``.

    Attributes:
        count: how many results.
        first: a place; FILLED when the results are a constant.
        step: the numerator of the slope.
        every: the denominator.
        shift: at least 0, less than ``every``.
    """

    count: int
    first: int
    step: int = 1
    every: int = 1
    shift: int = 0

    def places(self) -> Places:
        """Return the places of the results."""
        if self.first == FILLED:
            return np.full(self.count, FILLED)
        return self.first + (np.arange(self.count) * self.step + self.shift) // self.every


@dataclass(frozen=True)
class Rearrangement:
    """How a result is made of its operands.

    Attributes:
        axis: along which the operands are joined.
        runs: the runs of each axis.
        fill: the constant.
    """

    axis: int
    runs: tuple[tuple[Run, ...], ...]
    fill: float = 0.0

    def attributes(self) -> dict[str, Any]:
        """Return the workload's attributes."""
        flat = {
            f"along{axis}": tuple(
                number for run in runs for number in (run.count, run.first, run.step, run.every, run.shift)
            )
            for axis, runs in enumerate(self.runs)
        }
        return {"axis": self.axis, "fill": self.fill, **flat}

    @staticmethod
    def of(attrs: Mapping[str, Any]) -> Rearrangement:
        """Return what ``attributes`` wrote."""
        runs = []
        for axis in range(sum(name.startswith("along") for name in attrs)):
            numbers = attrs[f"along{axis}"]
            runs.append(tuple(Run(*numbers[at : at + 5]) for at in range(0, len(numbers), 5)))
        return Rearrangement(int(attrs["axis"]), tuple(runs), float(attrs["fill"]))

    def places(self, axis: int) -> Places:
        """Return the place of each result along an axis."""
        return np.concatenate([run.places() for run in self.runs[axis]])

    def after(self, inner: Rearrangement, sizes: Sequence[int]) -> Rearrangement | None:
        """Return this rearrangement of another's result as one; None when they fill with different constants.

        Args:
            sizes: of the operands of ``inner``, joined.
        """
        fills = {each.fill for each in (self, inner) if any(run.first == FILLED for runs in each.runs for run in runs)}
        if len(fills) > 1:
            return None
        runs = []
        for axis, size in enumerate(sizes):
            places = self.places(axis)
            found = np.where(places == FILLED, FILLED, inner.places(axis)[places])
            runs.append(runs_of(found, size))
        return Rearrangement(inner.axis, tuple(runs), next(iter(fills), 0.0))


def whole(size: int) -> tuple[Run, ...]:
    """Return the runs of an axis that stays as it is."""
    return (Run(size, 0),)


def runs_of(places: Places, size: int) -> tuple[Run, ...]:
    """Return runs that describe places along an axis, few of them but not always the fewest.

    Args:
        size: elements of the operands along the axis: results may follow the slope size / len(places).
    """
    slope = Fraction(int(size), max(1, len(places)))
    runs, start = [], 0
    while start < len(places):
        run = max((_constant_step(places[start:]), _slope(places[start:], slope)), key=lambda each: each.count)
        runs.append(run)
        start += run.count
    return tuple(runs)


def _constant_step(places: Places) -> Run:
    filled = places == FILLED
    if filled[0]:
        return Run(int(np.argmin(filled)) or len(places) if not filled.all() else len(places), FILLED)
    end = int(np.argmax(filled)) if filled.any() else len(places)
    steps = np.diff(places[:end])
    if not len(steps):
        return Run(1, int(places[0]))
    same = steps == steps[0]
    return Run(end if same.all() else int(np.argmin(same)) + 1, int(places[0]), int(steps[0]))


def _slope(places: Places, slope: Fraction) -> Run:
    """Return the longest run with this slope: every place allows an interval of shifts, and they must meet."""
    low = (places - places[0]) * slope.denominator - np.arange(len(places)) * slope.numerator
    highest = np.maximum.accumulate(np.maximum(low, 0))
    lowest = np.minimum.accumulate(np.minimum(low, 0) + slope.denominator - 1)
    fits = (highest <= lowest) & (places != FILLED)
    count = len(places) if fits.all() else int(np.argmin(fits))
    if not count:
        return Run(0, FILLED)
    return Run(count, int(places[0]), slope.numerator, slope.denominator, int(highest[count - 1]))


def by_operand(places: Places, sizes: Sequence[int]) -> list[tuple[int, Run]]:
    """Return runs of places along joined operands as (operand, run of places in it); filled runs count to the first."""
    ends = np.cumsum(sizes)
    operand = np.where(places == FILLED, 0, np.searchsorted(ends, places, side="right"))
    local = np.where(places == FILLED, FILLED, places - (ends - np.asarray(sizes))[operand])
    found, start = [], 0
    for each, group in groupby(operand.tolist()):
        count = len(list(group))
        found += [(each, run) for run in runs_of(local[start : start + count], sizes[each])]
        start += count
    return found
