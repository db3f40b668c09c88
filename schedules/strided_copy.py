"""Copy elements from one order in memory to another, by transposes of square tiles in vector registers.

A copy is a set of loops, each with a stride in the source and one in the destination. Where one loop is contiguous in
both, whole vectors move. Where two different loops are, tiles of them are loaded as rows, transposed by log2(n) stages
of two-input shuffles (each stage exchanges blocks of half the size across the diagonal) and stored as columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ..dims import upper
from .bindings import Expr
from .low_precision import store_element
from .strides import Loop
from .vectors import each_vector, extent, lane_loop, nest, worth_sharing

#: From a value and the loops' indices, in the order the loops were given, to what is stored.
Finish = Callable[[Expr, list[Expr]], Expr]
_SMALL = 4  # the tile for what the large tiles leave over


class StridedCopy:
    """One copy from ``source`` to ``destination``, both one-dimensional views.

    Args:
        loops: in any order; strides are (source, destination).
        lanes: the rows of a tile, a power of two.
        finish: applied to every element; None stores it as it is.
        base: offsets into source and destination.
        cores: how many threads to share the work among.
        parallel: whether threads may share it; False inside a loop that they share already.
    """

    def __init__(
        self,
        source: Any,
        destination: Any,
        loops: Sequence[Loop],
        lanes: int,
        finish: Finish | None = None,
        base: tuple[Expr, Expr] = (0, 0),
        cores: int = 1,
        parallel: bool = True,
    ) -> None:
        self.source, self.destination, self.loops = source, destination, list(loops)
        self.lanes, self.finish, self.base, self.cores = lanes, finish, base, cores
        self.parallel = parallel and worth_sharing(math.prod(each.extent for each in loops))

    def emit(self) -> None:
        """Emit the loops."""
        reading = self._unit(0)
        writing = self._unit(1)
        if writing is None or reading is None or reading == writing or self.lanes == 1:
            self._rows(self._innermost() if writing is None else writing)
        else:
            self._tiles(reading, writing)

    def _unit(self, side: int) -> int | None:
        return next((at for at, each in enumerate(self.loops) if each.strides[side] == 1), None)

    def _innermost(self) -> int | None:
        strides = [(upper(each.strides[1]), at) for at, each in enumerate(self.loops)]
        return min(strides)[1] if strides else None

    def _outer(self, *inner: int | None) -> list[int]:
        """Return the other loops, the one with the longest stride in the destination first."""
        others = [at for at in range(len(self.loops)) if at not in inner]
        return sorted(others, key=lambda at: -upper(self.loops[at].strides[1]))

    def _rows(self, inner: int | None) -> None:
        """Emit vectors along one loop; a source that is not contiguous along it is gathered."""
        outer = self._outer(inner)
        with nest([self.loops[at].extent for at in outer], self.parallel, self.cores) as indices:
            at: dict[int, Expr] = dict(zip(outer, indices, strict=False))
            if inner is None:
                self._store_elements(at, None, 0, 1)
                return
            each_vector(
                self.loops[inner].extent, self.lanes, lambda start, width: self._store_elements(at, inner, start, width)
            )

    def _store_elements(self, at: dict[int, Expr], inner: int | None, start: Expr, width: int) -> None:
        with lane_loop(width) as lane:
            place = at if inner is None else {**at, inner: start + lane}
            value = self.source[self._offset(place, 0)]
            store_element(self.destination, self._finished(value, place), [self._offset(place, 1)])

    def _tiles(self, reading: int, writing: int) -> None:
        outer = self._outer(reading, writing)
        extents = [self.loops[at].extent for at in outer]
        for first, rows, height in _pieces(self.loops[reading].extent, self.lanes):
            with nest([*extents, rows], self.parallel, self.cores) as indices:
                at = dict(zip(outer, indices, strict=False))
                for start, columns, width in _pieces(self.loops[writing].extent, self.lanes):
                    with T.serial(0, extent(columns)) as column:
                        corner = {reading: indices[-1] * height + first, writing: column * width + start}
                        self._tile({**at, **corner}, reading, writing, height, width)

    def _tile(self, at: dict[int, Expr], reading: int, writing: int, height: int, width: int) -> None:
        """Emit a tile of ``height`` steps of the reading loop by ``width`` of the writing one, as square tiles."""
        size = min(height, width)
        for down in range(0, height, size):
            for across in range(0, width, size):
                corner = {**at, reading: at[reading] + down, writing: at[writing] + across}
                rows = [self._load(corner, writing, row, size) for row in range(size)]
                for row, value in enumerate(transposed(rows)):
                    self._store({**corner, reading: corner[reading] + row}, writing, value, size)

    def _load(self, corner: dict[int, Expr], writing: int, row: int, size: int) -> Expr:
        place = {**corner, writing: corner[writing] + row}
        return T.bind(self.source[vector_index(self._offset(place, 0), size)])

    def _store(self, place: dict[int, Expr], writing: int, value: Expr, size: int) -> None:
        if self.finish is None:
            store_element(self.destination, value, [vector_index(self._offset(place, 1), size)])
            return
        row = T.alloc_buffer((size,), self.source.dtype)
        T.buffer_store(row, value, [vector_index(0, size)])
        with lane_loop(size) as lane:
            element = {**place, writing: place[writing] + lane}
            store_element(self.destination, self._finished(row[lane], element), [self._offset(element, 1)])

    def _finished(self, value: Expr, place: dict[int, Expr]) -> Expr:
        return self.finish(value, [place[at] for at in range(len(self.loops))]) if self.finish else value

    def _offset(self, place: dict[int, Expr], side: int) -> Expr:
        total: Expr = tirx.const(0, "int32") + self.base[side]
        for at, index in place.items():
            total = total + index * self.loops[at].strides[side]
        return total


def vector_index(start: Expr, lanes: int) -> Expr:
    """Return the index of ``lanes`` adjacent elements."""
    return start if lanes == 1 else tirx.Ramp(start, 1, lanes)


def transposed(rows: list[Expr]) -> list[Expr]:
    """Return the columns of a square tile given as rows of vectors, their number a power of two."""
    size = len(rows)
    half = size // 2
    while half:
        first = [lane if not lane & half else size + lane - half for lane in range(size)]
        second = [lane + half if not lane & half else size + lane for lane in range(size)]
        mixed = list(rows)
        for row in range(size):
            if not row & half:
                pair = [rows[row], rows[row + half]]
                mixed[row] = T.bind(tirx.Shuffle(pair, first))
                mixed[row + half] = T.bind(tirx.Shuffle(pair, second))
        rows = mixed
        half //= 2
    return rows


def _pieces(whole: int, lanes: int) -> list[tuple[int, int, int]]:
    """Cut an extent into (start, count, size): large tiles, then small ones, then single steps."""
    pieces, start = [], 0
    for size in sorted({lanes, min(_SMALL, lanes), 1}, reverse=True):
        count = (whole - start) // size
        if count != 0:
            pieces.append((start, count, size))
            start += count * size
    return pieces
