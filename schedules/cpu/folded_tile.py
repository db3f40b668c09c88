"""A register tile whose lanes run along the reduction: for so few results that vectors of them would stay half empty.

Each accumulator holds the partial sums of one result. At the end the accumulators of a run of rows are summed and
transposed at once, two of them becoming one with half the partial sums of each, so that a result costs two shuffles and
an addition, and the results of neighbouring rows come to lie in one vector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...targets.target import Target
from ..vectors import lane_loop, powers_of_two
from .register_tile import RegisterTile, Step, multiply_add, tile_shape

Expr = Any

#: Floats of 128 bits, across which the shuffles of AVX and AVX-512 do not reach for free.
_BLOCK = 4
#: Cycles that folding one result takes, about: two shuffles, an addition, and its share of the store.
FOLD_CYCLES = 2.5


class FoldedTile(RegisterTile):
    """``rows`` x ``vectors`` results, each of them the sum of ``lanes`` partial sums; not more rows than lanes."""

    def __init__(
        self, rows: int, vectors: int, lanes: int, depth: int = 0, dtype: str = "float32", step: Step = multiply_add
    ) -> None:
        super().__init__(rows, vectors, lanes, depth, dtype, step)
        self._results = [T.alloc_buffer((lanes,), dtype) for _ in range(vectors)]

    def sum(self, row: Expr, vector: int, lane: Expr) -> Expr:
        """Return a result; there is one lane."""
        return self._results[vector][row]

    def each(self, body: Callable[[Expr, int, Expr], None]) -> None:
        """Fold, and emit ``body(row, vector, 0)`` for every result, the rows in vectors."""
        for vector in range(self.vectors):
            self._fold(vector)
            for start, _, width in powers_of_two(self.rows, self.lanes):
                with lane_loop(width) as lane:
                    body(start + lane, vector, 0)

    def _fold(self, vector: int) -> None:
        """Sum the accumulators of a vector; a number of rows between two powers of two is filled up with the last."""
        count = max(_BLOCK, 1 << (self.rows - 1).bit_length())
        all_lanes = tirx.Ramp(0, 1, self.lanes)
        rows = [T.bind(super(FoldedTile, self).sum(min(row, self.rows - 1), vector, all_lanes)) for row in range(count)]
        for _ in range(_BLOCK.bit_length() - 1):
            rows = [_sum_pair(*pair, self.lanes, 1, _BLOCK) for pair in zip(rows[::2], rows[1::2], strict=True)]
        while len(rows) > 1:
            rows = [
                _sum_pair(*pair, self.lanes, _BLOCK, self.lanes) for pair in zip(rows[::2], rows[1::2], strict=True)
            ]
        lanes = self.lanes
        while lanes > count:
            rows = [_sum_halves(rows[0], lanes)]
            lanes //= 2
        T.buffer_store(self._results[vector], rows[0], [tirx.Ramp(0, 1, count)])


def _sum_pair(first: Expr, second: Expr, lanes: int, unit: int, span: int) -> Expr:
    """Add the even units of lanes to the odd ones; in each span of the result those of ``first`` come first."""
    even = [
        source * lanes + start + at + lane
        for start in range(0, lanes, span)
        for source in range(2)
        for at in range(0, span, 2 * unit)
        for lane in range(unit)
    ]
    pair = [first, second]
    return T.bind(tirx.Shuffle(pair, even) + tirx.Shuffle(pair, [each + unit for each in even]))


def _sum_halves(vector: Expr, lanes: int) -> Expr:
    """Add the even units of a block to the odd ones."""
    even = [start + lane for start in range(0, lanes, 2 * _BLOCK) for lane in range(_BLOCK)]
    return T.bind(tirx.Shuffle([vector], even) + tirx.Shuffle([vector], [each + _BLOCK for each in even]))


def folded_shape(target: Target, results: int) -> tuple[int, int]:
    """Return the (rows, vectors) of a folded tile for so many results of a pixel: rows that fold without a rest."""
    rows, columns = tile_shape(target)
    vectors = -(-results // -(-results // 3))
    rows = min(target.lanes() // 2, rows * columns // vectors)
    return (1 << rows.bit_length() - 1 if rows > _BLOCK else rows), vectors
