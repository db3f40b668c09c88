"""Sets of numbers as boundaries, for splits that are no plain comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ....forest import Boundaries, after


def region(points: Iterable[float], contains: Callable[[float], bool]) -> Boundaries:
    """Return the boundaries of a set that is all in or all out between neighbouring points, each in its right part."""
    found: list[float] = []
    inside = False
    for point in sorted(set(points)):
        if contains(point) != inside:
            found.append(point)
            inside = not inside
    return tuple(found)


def categories(members: Iterable[int], dtype: str, *, negative_zero: bool = False) -> Boundaries:
    """Return the numbers that, their fraction cut off, are one of these categories.

    Args:
        negative_zero: whether numbers between -1 and 0, which become category 0, belong to it.
    """
    wanted = set(members)
    limits = {float(np.array(each, dtype)) for member in wanted for each in (member, member + 1)}
    found = list(region(limits, lambda point: int(point) in wanted))
    if negative_zero and found and found[0] == 0.0:
        found[0] = float(after(np.array(-1.0), dtype))
    return tuple(found)
