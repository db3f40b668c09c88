"""How the work of a kernel over rows and channels is dealt to threads: in which order, in how many parts.

A parallel loop deals its turns in runs of equal number to the threads. Two nested loops make one such loop; the outer
one decides what a thread keeps to itself. With rows outside, a thread has rows of its own, and all weights pass: right
where the image is larger than the weights, for the next kernel then finds its rows in the same core's cache. With
channels outside, a thread has weights of its own and reads the whole image.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

Expr = Any

#: A cut is as good as the best one if the busiest core has no more than this much more to do, relative.
_TOLERANCE = 0.02
#: Cuts finer than this many parts for each core are not looked for.
_PARTS_FOR_A_CORE = 16


def sizes(rows: int, parts: int) -> list[int]:
    """Return the rows of each part: part k ends where ``(k + 1) * rows // parts`` says."""
    ends = [(part + 1) * rows // parts for part in range(parts)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def busiest(tasks: list[int], cores: int) -> float:
    """Return what the busiest core has to do, relative to an equal share, when tasks are dealt in runs."""
    share = -(-len(tasks) // cores)
    totals = [0, *accumulate(tasks)]
    most = max(totals[min(at + share, len(tasks))] - totals[at] for at in range(0, len(tasks), share))
    return most * cores / totals[-1]


def parts_of_rows(rows: int, outer: int, inner: int, cores: int, least: int = 1) -> int:
    """Return the fewest parts of the rows, ``least`` or more, with which the cores finish about together.

    Args:
        outer: turns of the loops outside the one over parts.
        inner: turns of the loops inside it.
    """
    least = min(rows, least)
    if cores == 1:
        return least
    finest = min(rows, max(least, _PARTS_FOR_A_CORE * cores))
    loads = {
        parts: busiest([size for size in sizes(rows, parts) for _ in range(inner)] * outer, cores)
        for parts in range(least, finest + 1)
    }
    enough = min(loads.values()) + _TOLERANCE
    return next(parts for parts, load in loads.items() if load <= enough)


@dataclass(frozen=True)
class Grid:
    """The tasks of a kernel: images, groups of channels, tiles of a group's channels, parts of an image's rows.

    Attributes:
        rows_outside: the order is image > group > part > tile, else group > tile > image > part.
    """

    images: int
    groups: int
    tiles: int
    parts: int
    rows_outside: bool

    @staticmethod
    def of(shape: tuple[int, int, int, int], cores: int, rows_outside: bool, least_parts: int) -> Grid:
        """Return the grid for (images, groups, tiles, rows) with the parts that let the cores finish together."""
        images, groups, tiles, rows = shape
        outer, inner = (images * groups, tiles) if rows_outside else (images * groups * tiles, 1)
        least = least_parts if rows_outside else 1
        return Grid(images, groups, tiles, parts_of_rows(rows, outer, inner, cores, least), rows_outside)

    @property
    def tasks(self) -> int:
        """How many tasks there are."""
        return self.images * self.groups * self.tiles * self.parts

    def place(self, task: Expr) -> tuple[Expr, Expr, Expr, Expr]:
        """Return image, group, tile and part of a task."""
        if self.rows_outside:
            part, tile = task // self.tiles % self.parts, task % self.tiles
            outer = task // self.tiles // self.parts
            return outer // self.groups, outer % self.groups, tile, part
        part, image = task % self.parts, task // self.parts % self.images
        outer = task // self.parts // self.images
        return image, outer // self.tiles, outer % self.tiles, part
