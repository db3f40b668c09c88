"""Place values in one block of memory so that no two that live at the same time overlap.

A value goes to the lowest offset that is free over its whole life. The order in which values are placed decides how
good the result is: the largest first, those of the fullest step first (both from Pisarchyk and Lee, "Efficient Memory
Management for Deep Neural Net Inference", MLSys 2020), or as they come; the best of the three is taken.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

from .lowering import ALIGNMENT, aligned


@dataclass(frozen=True)
class Lifetime:
    """A value: its bytes, and the first and last step (inclusive) that touch it."""

    size: int
    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        """Return whether both live in some step."""
        return self.first <= other.last and other.first <= self.last


def place(values: Sequence[Lifetime], alignment: int = ALIGNMENT) -> tuple[list[int], int]:
    """Return the offset of each value, a multiple of the alignment, and the bytes of the whole block."""
    numbers = range(len(values))
    fullness = {step: _live(values, step, alignment) for step in {value.first for value in values}}
    fullest = [max(full for step, full in fullness.items() if value.first <= step <= value.last) for value in values]
    orders = (
        sorted(numbers, key=lambda each: (-values[each].size, values[each].first, each)),
        sorted(numbers, key=lambda each: (-fullest[each], -values[each].size, each)),
        sorted(numbers, key=lambda each: (values[each].first, each)),
    )
    return min((_place_in(values, order, alignment) for order in orders), key=lambda placed: placed[1])


def lower_bound(values: Sequence[Lifetime], alignment: int = ALIGNMENT) -> int:
    """Return the most bytes that live in one step: no plan needs less."""
    return max((_live(values, step, alignment) for step in {value.first for value in values}), default=0)


def _live(values: Sequence[Lifetime], step: int, alignment: int) -> int:
    return sum(aligned(value.size, alignment) for value in values if value.first <= step <= value.last)


def _place_in(values: Sequence[Lifetime], order: Sequence[int], alignment: int) -> tuple[list[int], int]:
    offsets = [0] * len(values)
    placed: list[int] = []
    end = 0
    for index in order:
        value = values[index]
        offset = 0
        for other in placed:  # by rising offset
            if value.meets(values[other]):
                if offset + value.size <= offsets[other]:
                    break
                offset = max(offset, aligned(offsets[other] + values[other].size, alignment))
        offsets[index] = offset
        insort(placed, index, key=lambda each: offsets[each])
        end = max(end, aligned(offset + value.size, alignment))
    return offsets, end
