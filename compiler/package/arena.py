"""Place values in one block of memory so that no two that live at the same time overlap.

Greedy by size: the largest value first, each at the lowest offset that is free over its whole life (Pisarchyk and Lee,
"Efficient Memory Management for Deep Neural Net Inference", MLSys 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .lowering import aligned


@dataclass(frozen=True)
class Lifetime:
    """A value: its bytes, and the first and last step (inclusive) that touch it."""

    size: int
    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        """Return whether both live in some step."""
        return self.first <= other.last and other.first <= self.last


def place(values: Sequence[Lifetime]) -> tuple[list[int], int]:
    """Return the offset of each value, a multiple of 64, and the bytes of the whole block."""
    offsets = [0] * len(values)
    placed: list[int] = []
    end = 0
    for index in sorted(range(len(values)), key=lambda each: (-values[each].size, values[each].first, each)):
        value = values[index]
        offset = 0
        for other in placed:  # by rising offset
            if value.meets(values[other]):
                if offset + value.size <= offsets[other]:
                    break
                offset = max(offset, aligned(offsets[other] + values[other].size))
        offsets[index] = offset
        placed.append(index)
        placed.sort(key=lambda each: offsets[each])
        end = max(end, aligned(offset + value.size))
    return offsets, end


def lower_bound(values: Sequence[Lifetime]) -> int:
    """Return the most bytes that live in one step: no plan needs less."""
    steps = {value.first for value in values}
    return max((sum(aligned(v.size) for v in values if v.first <= step <= v.last) for step in steps), default=0)
