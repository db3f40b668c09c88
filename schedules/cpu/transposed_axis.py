"""One spatial axis of a transposed convolution, read as a gathering: which data and taps make each result.

Result ``o`` takes data ``i`` by tap ``k`` where ``o = i * stride - before + k * dilation``. For the results of one
phase ``o mod stride`` these are every ``period``-th tap from a first one on, the data ``reach`` apart: an ordinary
convolution of stride 1 over the results of the phase.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tvm import tirx

Expr = Any


@dataclass(frozen=True)
class TransposedAxis:
    """Sizes of data and result, and the kernel along the axis; ``before`` is how many results are cropped in front."""

    size: int
    out_size: int
    kernel: int
    stride: int
    dilation: int
    before: int

    @property
    def period(self) -> int:
        """How far the taps of one result lie apart."""
        return self.stride // math.gcd(self.stride, self.dilation)

    @property
    def reach(self) -> int:
        """How far the data of neighbouring taps of one result lie apart."""
        return self.dilation // math.gcd(self.stride, self.dilation)

    def first_tap(self, place: Expr) -> Expr:
        """Return the first tap of a result; past the kernel where it has none, if its stride divides the dilation."""
        inverse = pow(self.reach, -1, self.period)
        return (place + self.before) // math.gcd(self.stride, self.dilation) * inverse % self.period

    def window(self, place: Expr) -> tuple[Expr, Expr, Expr, Expr]:
        """Return (first tap, its data, first and end step of the taps that meet data) of a result known at run time."""
        common, tap = math.gcd(self.stride, self.dilation), self.first_tap(place)
        data = (place + self.before - tap * self.dilation) // self.stride
        count = (self.kernel - tap + self.period - 1) // self.period
        if common > 1:
            count = tirx.Select(tirx.EQ((place + self.before) % common, 0), count, 0)
        low = tirx.max(0, (data - self.size + self.reach) // self.reach)
        return tap, data, low, tirx.min(count, data // self.reach + 1)

    def phases(self) -> list[Phase]:
        """Return the phases that have results."""
        return [Phase(self, first) for first in range(min(self.stride, self.out_size))]


@dataclass(frozen=True)
class Phase:
    """The results ``first``, ``first + stride``, ... of an axis."""

    axis: TransposedAxis
    first: int

    @property
    def count(self) -> int:
        """How many results."""
        return -(-(self.axis.out_size - self.first) // self.axis.stride)

    @property
    def tap(self) -> int:
        """The first tap."""
        return int(self.axis.first_tap(self.first))

    @property
    def taps(self) -> int:
        """How many taps."""
        axis = self.axis
        if (self.first + axis.before) % math.gcd(axis.stride, axis.dilation):
            return 0
        return max(0, -(-(axis.kernel - self.tap) // axis.period))

    def data(self, result: Expr, step: Expr) -> Expr:
        """Return the data under a result, counted within the phase, and a step of the taps."""
        axis = self.axis
        first = (self.first + axis.before - self.tap * axis.dilation) // axis.stride
        return result + first - step * axis.reach

    def inside(self, result: int, step: int) -> bool:
        """Return whether a result meets data under a step of the taps."""
        return 0 <= int(self.data(result, step)) < self.axis.size

    def all_inside(self, start: int, size: int) -> bool:
        """Return whether a run of results needs no clipping."""
        return self.inside(start, self.taps - 1) and self.inside(start + size - 1, 0)
