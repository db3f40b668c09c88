"""The register tile: a block of results that stays in vector registers while the reduction streams past.

Each row multiplies one broadcast element with ``vectors`` vectors of weights, so that one load feeds several
multiply-adds: on cores with two loads and two multiply-adds a cycle a single vector would be bound by its loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...targets.target import Target
from ..low_precision import element_of
from ..vectors import lane_loop, powers_of_two

Expr = Any

#: TVM puts smaller buffers on the stack, where LLVM turns them into registers, and others into memory it allocates.
STACK_BYTES = 1024
#: So many products are summed one after the other; longer reductions are summed in parts of about this length.
EXACT_DEPTH = 512
#: Floats of a cache line.
CACHE_LINE = 16
#: Vector multiply-adds that today's x86 cores start in a cycle.
MULTIPLY_ADDS_PER_CYCLE = 2.0
#: What one core streams from memory, about: 20 GB/s at 4 GHz.
MEMORY_BYTES_PER_CYCLE = 5.0
#: The instruction set whose multiply-adds take one lane of a vector, in Linux's spelling.
_BY_LANE = "asimd"
#: Tiles of instruction sets whose multiply-adds take more than whole vectors.
_TILES = {_BY_LANE: (10, 2), "v": (8, 2)}
#: What LLVM calls the locality of a prefetch: the cache to fetch into.
NEAREST, SECOND_LEVEL = 3, 2


Step = Callable[[Expr, Expr, Expr], Expr]


def multiply_add(total: Expr, element: Expr, weight: Expr) -> Expr:
    """Return ``total + element * weight``."""
    return total + element * weight


class RegisterTile:
    """``rows`` x ``vectors`` accumulators of ``lanes`` floats, in a buffer for each vector of columns.

    Args:
        rows: how many broadcast elements a step takes at the most.
        vectors: how many vectors each of them multiplies.
        lanes: elements of a vector.
        depth: how many steps the whole reduction has. Past ``EXACT_DEPTH`` it is summed in parts by ``flush``: the
            rounding error of a sum grows with the number of terms it takes in one after the other.
        dtype: the accumulators' element type, of four bytes.
        step: makes of a sum, an element and a weight the next sum.
    """

    def __init__(
        self,
        rows: int,
        vectors: int,
        lanes: int,
        depth: int = 0,
        dtype: str = "float32",
        step: Step = multiply_add,
    ) -> None:
        if rows * lanes * 4 >= STACK_BYTES:
            raise ValueError(f"{rows} rows of {lanes} lanes are too many: their sums would not stay in registers")
        self.rows, self.vectors, self.lanes, self.dtype, self.step = rows, vectors, lanes, dtype, step
        self._sums = [T.alloc_buffer((rows, lanes), dtype) for _ in range(vectors)]
        parts = vectors if depth > EXACT_DEPTH else 0
        self._totals = [T.alloc_buffer((rows, lanes), dtype) for _ in range(parts)]

    def clear(self, rows: int) -> None:
        """Begin a tile of so many rows: set its accumulators to zero."""
        self.rows = rows
        for sums in (*self._sums, *self._totals):
            self._set_zero(sums)

    def zero(self, rows: Iterable[int]) -> None:
        """Set the accumulators of some rows, known now, to zero."""
        for row in rows:
            for sums in self._sums:
                with T.vectorized(0, self.lanes) as lane:
                    T.buffer_store(sums, tirx.const(0, self.dtype), [row, lane])

    def _set_zero(self, sums: Any) -> None:
        with T.unroll(0, self.rows) as row, T.vectorized(0, self.lanes) as lane:
            T.buffer_store(sums, tirx.const(0, self.dtype), [row, lane])

    def flush(self) -> None:
        """End a part of the reduction: add its sums to the totals. Nothing happens where the reduction has no parts."""
        for sums, totals in zip(self._sums, self._totals, strict=False):
            with T.unroll(0, self.rows) as row, T.vectorized(0, self.lanes) as lane:
                T.buffer_store(totals, totals[row, lane] + sums[row, lane], [row, lane])
            self._set_zero(sums)

    def sum(self, row: Expr, vector: int, lane: Expr) -> Expr:
        """Return a result's lane."""
        return (self._totals or self._sums)[vector][row, lane]

    def multiply_add(
        self,
        element: Callable[[Expr, Expr], Expr],
        weight: Callable[[int, Expr], Expr],
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

    def multiply(
        self, element: Callable[[Expr, Expr], Expr], weight: Callable[[int, Expr], Expr], rows: Iterable[int]
    ) -> None:
        """Set some rows, known now, to their first product, in place of setting them to zero and adding it."""
        for row in rows:
            for vector, sums in enumerate(self._sums):
                with T.vectorized(0, self.lanes) as lane:
                    T.buffer_store(sums, element(row, lane) * weight(vector, lane), [row, lane])

    def steps(
        self,
        count: int,
        element: Callable[[Expr, Expr], Expr],
        weight: Callable[[int, Expr, Expr], Expr],
        rows: Sequence[int] | None = None,
        *,
        by_lane: bool = False,
    ) -> None:
        """Add some steps, unrolled: ``sum[row, vector, lane] += element(row, step) * weight(vector, step, lane)``.

        Args:
            by_lane: whether a row's elements of neighbouring steps, which must lie one behind the other in memory, are
                loaded as a vector whose lanes are multiplied one by one (see :func:`multiplies_by_lane`).
        """
        if not by_lane:
            self._unrolled(0, count, element, weight, rows)
            return
        for start, vectors, width in powers_of_two(count, self.lanes):
            for at in range(vectors):
                first = start + at * width
                self._unrolled(first, width, self._loaded(element, first, width, rows), weight, rows)

    def _unrolled(
        self,
        first: int,
        count: int,
        element: Callable[[Expr, Expr], Expr],
        weight: Callable[[int, Expr, Expr], Expr],
        rows: Sequence[int] | None,
    ) -> None:
        with T.unroll(0, count) as at:
            self.multiply_add(
                lambda row, _: element(row, first + at), lambda vector, lane: weight(vector, first + at, lane), rows
            )

    def _loaded(
        self, element: Callable[[Expr, Expr], Expr], first: int, width: int, rows: Sequence[int] | None
    ) -> Callable[[Expr, Expr], Expr]:
        """Load a vector of ``width`` elements of every row, return how one of them is read.

        LLVM keeps the buffer in registers: a read of one of its elements becomes a lane of the multiply-add.
        """
        held = T.alloc_buffer((self.rows, width), self.dtype)
        if rows is None:
            with T.unroll(0, self.rows) as row, lane_loop(width) as lane:
                T.buffer_store(held, element(row, first + lane), [row, lane])
        for row in rows or ():
            with lane_loop(width) as lane:
                T.buffer_store(held, element(row, first + lane), [row, lane])
        return lambda row, step: held[row, step - first]

    def _row(self, row: Expr, element: Callable[[Expr, Expr], Expr], weight: Callable[[int, Expr], Expr]) -> None:
        for vector, sums in enumerate(self._sums):
            with T.vectorized(0, self.lanes) as lane:
                T.buffer_store(sums, self.step(sums[row, lane], element(row, lane), weight(vector, lane)), [row, lane])

    def each(self, body: Callable[[Expr, int, Expr], None]) -> None:
        """Emit ``body(row, vector, lane)`` for every accumulator."""
        with T.unroll(0, self.rows) as row:
            for vector in range(self.vectors):
                with T.vectorized(0, self.lanes) as lane:
                    body(row, vector, lane)


def tile_shape(target: Target) -> tuple[int, int]:
    """Return the (rows, vectors) of a tile that fills the registers without spilling.

    Measured with LLVM 22: of 32 registers 24 sums leave room for weights and broadcasts of the next step, 28 spill; of
    16 registers twelve sums in three vectors are best, because a step then loads seven times for twelve multiply-adds.
    Without fused multiply-adds the products take registers, too: nine sums are half as fast again as twelve. With
    multiply-adds by lane a vector of every row waits in registers beside 20 sums; those of RISC-V take a scalar, and
    more than eight rows of them run out of scalar registers.
    """
    for feature, tile in _TILES.items():
        if feature in target.features:
            return tile
    if target.facts.vector_registers >= 32:
        return 12, 2
    return (4, 3) if "fma" in target.features else (3, 3)


def multiplies_by_lane(target: Target) -> bool:
    """Return whether a multiply-add takes one lane of a vector for all lanes of its result, as ``fmla`` by element."""
    return _BY_LANE in target.features


def prefetch(buffer: Any, index: list[Expr], axis: int, vectors: int, turn: Expr, turns: int) -> None:
    """Fetch one turn's share of vectors that lie one behind the other into the second-level cache.

    Weights are read once for each run of a model and come from memory: while one panel is multiplied, the next one is
    fetched little by little, evenly over the ``turns`` steps that the panel's work has.

    Args:
        buffer: the weights.
        index: where the first vector begins.
        axis: the axis along which vectors lie one behind the other.
        vectors: how many vectors the next panel has.
        turn: the number of this step.
    """
    share = -(-vectors // turns)
    for at in range(share):
        place = list(index)
        place[axis] = place[axis] + turn * share + at
        prefetch_line(buffer, place, SECOND_LEVEL)


def prefetch_line(buffer: Any, index: list[Expr], locality: int, write: bool = False) -> None:
    """Fetch the cache line of an element, to read or to write it: ``NEAREST`` or ``SECOND_LEVEL`` cache."""
    address = tirx.address_of(element_of(buffer, index))
    T.evaluate(tirx.call_llvm_intrin("void", "llvm.prefetch", address, int(write), locality, 1))
