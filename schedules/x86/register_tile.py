"""The register tile: a block of results that stays in vector registers while the reduction streams past.

Each row multiplies one broadcast element with ``vectors`` vectors of weights, so that one load feeds several
multiply-adds: on cores with two loads and two multiply-adds a cycle a single vector would be bound by its loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...targets.target import Target

Expr = Any

#: Vector multiply-adds that today's x86 cores start in a cycle.
MULTIPLY_ADDS_PER_CYCLE = 2.0
#: What one core streams from memory, about: 20 GB/s at 4 GHz.
MEMORY_BYTES_PER_CYCLE = 5.0


class RegisterTile:
    """``rows`` x ``vectors`` accumulators of ``lanes`` floats.

    Args:
        rows: how many broadcast elements a step takes at the most.
        vectors: how many vectors each of them multiplies.
        lanes: elements of a vector.
    """

    def __init__(self, rows: int, vectors: int, lanes: int) -> None:
        self.rows, self.vectors, self.lanes = rows, vectors, lanes
        self._sums = T.alloc_buffer((rows * vectors, lanes), "float32", scope="local")

    def clear(self, rows: int) -> None:
        """Begin a tile of so many rows: set its accumulators to zero."""
        self.rows = rows
        with T.unroll(0, rows * self.vectors) as index, T.vectorized(0, self.lanes) as lane:
            T.buffer_store(self._sums, tirx.const(0.0, "float32"), [index, lane])

    def sum(self, row: Expr, vector: Expr, lane: Expr) -> Expr:
        """Return an accumulator's lane."""
        return self._sums[row * self.vectors + vector, lane]

    def multiply_add(
        self,
        element: Callable[[Expr, Expr], Expr],
        weight: Callable[[Expr, Expr], Expr],
        rows: Iterable[int] | None = None,
    ) -> None:
        """Add one step of the reduction: ``sum[row, vector, lane] += element(row, lane) * weight(vector, lane)``.

        ``rows`` restricts the step to some rows, known now; None is all of them.
        """
        if rows is None:
            with T.unroll(0, self.rows) as row:
                self._row(row, element, weight)
            return
        for row in rows:
            self._row(row, element, weight)

    def _row(self, row: Expr, element: Callable[[Expr, Expr], Expr], weight: Callable[[Expr, Expr], Expr]) -> None:
        with T.unroll(0, self.vectors) as vector, T.vectorized(0, self.lanes) as lane:
            product = element(row, lane) * weight(vector, lane)
            T.buffer_store(self._sums, self.sum(row, vector, lane) + product, [row * self.vectors + vector, lane])

    def each(self, body: Callable[[Expr, Expr, Expr], None]) -> None:
        """Emit ``body(row, vector, lane)`` for every accumulator."""
        with T.unroll(0, self.rows) as row, T.unroll(0, self.vectors) as vector, T.vectorized(0, self.lanes) as lane:
            body(row, vector, lane)


def tile_shape(target: Target) -> tuple[int, int]:
    """Return the (rows, vectors) of a tile that fills the registers without spilling.

    Measured with LLVM 22: of 32 registers 24 sums leave room for weights and broadcasts of the next step, 28 spill; of
    16 registers twelve sums in three vectors are best, because a step then loads seven times for twelve multiply-adds.
    """
    return (12, 2) if target.facts.vector_registers >= 32 else (4, 3)
