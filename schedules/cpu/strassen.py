"""Matrix products by one level of Strassen and Winograd's algorithm, with their epilogue: seven products for eight.

The rows of A are cut into an upper and a lower half, its columns (the depth) into a first and a second, B accordingly:

    S1 = A21 + A22   S2 = S1 - A11   S3 = A11 - A21   S4 = A12 - S2
    T1 = B12 - B11   T2 = B22 - T1   T3 = B22 - B12   T4 = T2 - B21
    P1 = A11 B11     P2 = A12 B21    P3 = S4 B22      P4 = A22 T4     P5 = S1 T1   P6 = S2 T2   P7 = S3 T3
    U2 = P1 + P6     U3 = U2 + P7    U4 = U2 + P5
    C11 = P1 + P2    C12 = U4 + P3   C21 = U3 - P4    C22 = U3 + P5

V. Strassen, Gaussian Elimination is not Optimal, 1969, in S. Winograd's variant with 15 additions; N. Higham, Accuracy
and Stability of Numerical Algorithms, 2002, chapter 23, has its error bound.

S is formed once, before; T for one column tile and one part of the depth at a time, in the second-level cache. The
products of a register tile follow one another, so that they meet in the first-level cache and C is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...targets.target import Target
from ...workload import LowTensor, Workload, attributes
from ..kernel import Kernel, balanced, starts, unrolled_loop, writing
from ..low_precision import store_element
from ..template import CPUS, NotApplicable, template
from .matmul import ALGORITHM, Product, pack_second, unravel
from .register_tile import (
    CACHE_LINE,
    MULTIPLY_ADDS_PER_CYCLE,
    SECOND_LEVEL,
    RegisterTile,
    prefetch_line,
    tile_shape,
)  # fmt: skip
from .strassen_scheme import SUMS_OF_A, SUMS_OF_B, SUMS_OF_PRODUCTS, Halves, Plan, emit_sums

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any
#: An operand of a product: its element at (row, step) or (vector, step, lane).
Operand = Callable[..., Expr]

#: What tells this algorithm from the ordinary one, whose operands are stored alike.
STRASSEN = (ALGORITHM, "strassen")
#: Measured: cycles to form the sums of one vector from each of the four quarters of A, of B and of C.
CYCLES_PER_SUM_OF_A, CYCLES_PER_SUM_OF_B, CYCLES_PER_SUM_OF_C = 48.0, 24.0, 24.0
#: A gain of less is not worth the rounding.
LEAST_GAIN = 0.01
#: Places of S and T that are not in the order of the products P5, P6, P7 of S1 T1, S2 T2, S3 T3.
S4 = T4 = 3
P3, P4, P5 = 2, 3, 4


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for packed weights, and for this algorithm; of weights known now and rows that lie one behind the other."""
    product = Product.of(work)
    if isinstance(work.inputs[1], LowTensor):
        raise NotApplicable
    if not dict(work.attrs).get("constant_weight") or work.attr("a_axes") != tuple(range(len(product.a_shape))):
        raise NotApplicable
    wish = pack_second(work, target)
    Halves.of(product, target.lanes())
    return replace(wish, attrs=attributes(dict((*wish.attrs, STRASSEN))))


def cost(work: Workload, target: Target) -> float:
    """Return estimated cycles: seven products of halves, the sums before and after them."""
    lanes = target.lanes()
    halves = Halves.of(Product.of(work), lanes)
    plan = Plan.of(halves, target, *reversed(tile_shape(target)))
    pairs = halves.groups * halves.pairs
    products = 7 * pairs * halves.depth * halves.half_blocks / MULTIPLY_ADDS_PER_CYCLE
    sums = CYCLES_PER_SUM_OF_A * pairs * halves.depth / lanes
    sums += CYCLES_PER_SUM_OF_B * halves.depth * halves.half_blocks * plan.chunks
    sums += CYCLES_PER_SUM_OF_C * pairs * halves.half_blocks
    return (products + sums) / (1 - LEAST_GAIN)


@template("matmul", arch=CPUS, dtypes=("float32",), layouts=layouts, cost=cost, accuracy="default")
def strassen_matmul(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Order: chunk of rows and column tile (shared among threads) > part of the depth > row tile > product > depth."""
    if STRASSEN not in work.attrs:
        raise NotApplicable
    rows, columns = tile_shape(target)
    vectors = knobs.choice("vectors", (1, 2, 3, 4), default=columns)
    tile = knobs.choice("tile", range(1, 16), default=rows)
    unroll = knobs.choice("unroll", (1, 2, 4, 8), default=4)
    with writing(work) as kernel:
        product = Product.of(work)
        halves = Halves.of(product, target.lanes())
        _Writer(kernel, product, halves, target, Plan.of(halves, target, vectors, tile), unroll).write()
    assert kernel.function is not None
    return kernel.function


@dataclass(frozen=True)
class _Tile:
    """A row tile of a column tile and a part of the depth.

    Attributes:
        block: the first vector of columns, of the left half.
        part: (first, size) of half the depth; the halves of parts alternate in K.
        pair: the first pair of rows.
        turn: (number of this tile, number of tiles).
    """

    block: Expr
    vectors: int
    part: tuple[Expr, int]
    pair: Expr
    rows: int
    turn: tuple[Expr, int]


class _Writer:
    """Emits one product."""

    def __init__(
        self, kernel: Kernel, product: Product, halves: Halves, target: Target, plan: Plan, unroll: int
    ) -> None:
        self.kernel, self.product, self.halves, self.plan, self.unroll = kernel, product, halves, plan, unroll
        self.cores, self.lanes = target.facts.cores, target.lanes()
        self.a, self.b = kernel.inputs[:2]
        self.split = sum(count for *_, count in plan.parts) > 1
        #: Row tiles of each run that a chunk has at the most, and where their unfinished sums begin.
        self.shares = [-(-halves.groups * count // plan.chunks) for *_, count in plan.rows]
        heights = [share * size for share, (_, size, _) in zip(self.shares, plan.rows, strict=True)]
        self.places = [sum(heights[:at]) for at in range(len(heights) + 1)]

    def write(self) -> None:
        """Emit the sums of A, then the column tiles."""
        pairs = self.halves.groups * self.halves.pairs
        # An odd number of cache lines: rows would otherwise lie a power of two apart and evict one another.
        stride = CACHE_LINE * (-(-self.halves.depth // CACHE_LINE) | 1)
        self.s = T.alloc_buffer((4, pairs + 1, stride), "float32")
        for first, size, count in starts(balanced(pairs, -(-pairs // (2 * self.cores)))):
            with T.parallel(0, count) as task, T.serial(0, size) as at:
                self._sum_a(task * size + at + first)
        for first, size, count in self.plan.columns:
            with T.parallel(0, count * self.plan.chunks) as task:
                self._columns(task % count * size + first, size, task // count)

    def _sum_a(self, pair: Expr) -> None:
        """Emit S of one pair of rows."""
        for start, size, count in self.plan.parts:
            with T.serial(0, count) as part:
                for begin, steps, width in unrolled_loop(size, self.lanes):
                    with T.serial(0, steps) as step:
                        self._sum_a_vector(pair, part * size + start, size, step * width + begin, width)

    def _sum_a_vector(self, pair: Expr, first: Expr, size: int, step: Expr, width: int) -> None:
        def quarter(pair: Expr, number: int, lane: Expr) -> list[Expr]:
            return self._place_in_a(self.halves.row(pair, number // 2), 2 * first + number % 2 * size + step + lane)

        for at in range(4):
            prefetch_line(self.a, quarter(pair + 1, at, 0), SECOND_LEVEL)
            prefetch_line(self.s, [at, pair + 1, first + step], SECOND_LEVEL, write=True)
        emit_sums(
            SUMS_OF_A,
            4,
            lambda at, lane: self.a[tuple(quarter(pair, at, lane))],
            lambda at, lane, value: T.buffer_store(self.s, value, [at, pair, first + step + lane]),
            self.lanes,
            width,
        )

    def _place_in_a(self, row: Expr, k: Expr) -> list[Expr]:
        return [*unravel(row, self.product.folded), k]

    def _columns(self, block: Expr, vectors: int, chunk: Expr) -> None:
        """Emit a column tile of both halves, all its depth, a chunk of the rows."""
        deepest = max(size for _, size, _ in self.plan.parts)
        tallest = max(size for _, size, _ in self.plan.rows)
        # One step more than is used, for panels would lie a multiple of 4096 bytes apart.
        self.t = T.alloc_buffer((4, deepest + 1, vectors, self.lanes), "float32")
        self.products = T.alloc_buffer((7, tallest, vectors, self.lanes), "float32")
        self.sums = RegisterTile(tallest, vectors, self.lanes)
        if self.split:
            self._clear_unfinished(vectors)
        for start, size, count in self.plan.parts:
            with T.serial(0, count) as index:
                part = (index * size + start, size)
                self._sum_b(block, vectors, *part)
                self._row_tiles(block, vectors, part, chunk)
        if self.split:
            for run, place in enumerate(self.places[:-1]):
                with self._tiles_of(run, chunk) as (at, pair, rows):
                    tile = _Tile(block, vectors, (0, 0), pair, rows, (0, 1))
                    self._finish(tile, self.unfinished, place + at * rows)

    def _clear_unfinished(self, vectors: int) -> None:
        rows = self.places[-1]
        self.unfinished = T.alloc_buffer((4, rows, vectors, self.lanes), "float32")
        with T.grid(4, rows, vectors) as (quarter, row, vector), T.vectorized(0, self.lanes) as lane:
            T.buffer_store(self.unfinished, tirx.const(0.0, "float32"), [quarter, row, vector, lane])

    def _row_tiles(self, block: Expr, vectors: int, part: tuple[Expr, int], chunk: Expr) -> None:
        """Emit the row tiles of a chunk for one part of the depth."""
        done = 0
        for run, share in enumerate(self.shares):
            with self._tiles_of(run, chunk) as (at, pair, rows):
                tile = _Tile(block, vectors, part, pair, rows, (at + done, sum(self.shares)))
                self._multiply(tile)
                self._add_products(tile, self.places[run] + at * rows)
                if not self.split:
                    self._finish(tile, self.products, 0)
            done += share

    @contextmanager
    def _tiles_of(self, run: int, chunk: Expr) -> Iterator[tuple[Expr, Expr, int]]:
        """Loop over the row tiles of a run in a chunk: (number in the chunk, first pair, rows)."""
        first, size, count = self.plan.rows[run]
        tiles, chunks = self.halves.groups * count, self.plan.chunks
        begin, end = chunk * tiles // chunks, (chunk + 1) * tiles // chunks
        with T.serial(0, end - begin if chunks > 1 else tiles) as at:
            tile = at + begin if chunks > 1 else at
            yield at, tile // count * self.halves.pairs + tile % count * size + first, size

    def _sum_b(self, block: Expr, vectors: int, first: Expr, size: int) -> None:
        """Emit T of a column tile and a part of the depth."""

        def emit(step: Expr, vector: int) -> None:
            def load(at: int, lane: Expr) -> Expr:
                return self.b[block + vector + at % 2 * self.halves.right, 2 * first + at // 2 * size + step, lane]

            def store(at: int, lane: Expr, value: Expr) -> None:
                T.buffer_store(self.t, value, [at, step, vector, lane])

            emit_sums(SUMS_OF_B, 4, load, store, self.lanes)

        with T.serial(0, size) as step:
            for vector in range(vectors):
                emit(step, vector)

    def _multiply(self, tile: _Tile) -> None:
        """Emit the seven products of a row tile. Each fetches rows that the next one reads."""
        first, size = tile.part

        def a(row_half: Expr, k_half: Expr) -> Operand:
            row, k = self.halves.row(tile.pair, row_half), 2 * first + k_half * size
            return lambda at, step: (self.a, self._place_in_a(row + at, k + step))

        def s(number: Expr) -> Operand:
            return lambda at, step: (self.s, [number, tile.pair + at, first + step])

        def b(k_half: Expr, column_half: int) -> Operand:
            column, k = tile.block + column_half * self.halves.right, 2 * first + k_half * size
            return lambda vector, step, lane: self.b[column + vector, k + step, lane]

        def t(number: Expr) -> Operand:
            return lambda vector, step, lane: self.t[number, step, vector, lane]

        with T.serial(0, 2) as half:
            self._product(tile, half, a(0, half), b(half, 0), a(half, 1))
        self._product(tile, P4, a(1, 1), t(T4), s(S4))
        self._product(tile, P3, s(S4), b(1, 1), s(0))
        with T.serial(0, 3) as at:
            self._product(tile, P5 + at, s(at), t(at), s(at + 1))

    def _product(self, tile: _Tile, number: Expr, left: Operand, right: Operand, following: Operand) -> None:
        """Emit one product of a row tile into its place; fetch what comes next meanwhile."""
        sums, size = self.sums, tile.part[1]
        sums.clear(tile.rows)

        def multiply(step: Expr) -> None:
            def element(row: Expr, _: Expr) -> Expr:
                buffer, index = left(row, step)
                return buffer[tuple(index)]

            sums.multiply_add(element, lambda vector, lane: right(vector, step, lane))

        for start, steps, unroll in unrolled_loop(size, self.unroll):
            with T.serial(0, steps) as outer:
                if not start:
                    self._prefetch_weights(tile, (tile.turn[0] * 7 + number) * steps + outer, tile.turn[1] * 7 * steps)
                    self._prefetch_rows(tile, following, outer)
                    self._prefetch_result(tile, number, outer, steps)
                with T.unroll(0, unroll) as inner:
                    multiply(outer * unroll + inner + start)
        sums.each(
            lambda row, vector, lane: T.buffer_store(
                self.products, sums.sum(row, vector, lane), [number, row, vector, lane]
            )
        )

    def _prefetch_weights(self, tile: _Tile, turn: Expr, turns: int) -> None:
        """Fetch this turn's share of the weights of the next part of the depth or, after the last, column tile."""
        (first, size), vectors = tile.part, tile.vectors
        lines, depth = 4 * size * vectors, 2 * self.halves.depth
        share, turns_of_a_share = -(-lines // turns), max(1, turns // lines)
        for at in range(share):
            line = turn // turns_of_a_share * share + at
            panel, k = line // (2 * size), 2 * (first + size)
            column = tile.block + k // depth * vectors + panel % vectors + panel // vectors * self.halves.right
            prefetch_line(self.b, [column, line % (2 * size) + k % depth, 0], SECOND_LEVEL)

    def _prefetch_rows(self, tile: _Tile, following: Operand, step: Expr) -> None:
        """Fetch the rows of the next product: in the steps of a cache line some rows each."""
        steps = max(1, CACHE_LINE // self.unroll)
        share = -(-tile.rows // steps)
        for at in range(share):
            buffer, index = following(step % steps * share + at, step // steps * CACHE_LINE)
            prefetch_line(buffer, index, SECOND_LEVEL)

    def _prefetch_result(self, tile: _Tile, number: Expr, step: Expr, steps: int) -> None:
        """Fetch in P3 the upper rows of the result that will be written, in P4 the lower ones."""
        if self.split or not isinstance(number, int):
            return
        lines = 2 * tile.vectors * tile.rows
        with T.If(step % max(1, steps // lines) == 0), T.Then():
            line = step // max(1, steps // lines)
            row = self.halves.row(tile.pair, number - P3) + line // (2 * tile.vectors)
            block = tile.block + line % tile.vectors + line // tile.vectors % 2 * self.halves.right
            prefetch_line(
                self.kernel.outputs[0], self._place_in_result(row, block * self.lanes)[1], SECOND_LEVEL, write=True
            )

    def _add_products(self, tile: _Tile, place: Expr) -> None:
        """Emit the quarters of C of a row tile: over its products, or added to what is unfinished."""
        before = len(SUMS_OF_PRODUCTS) - 4

        def emit(row: Expr, vector: int) -> None:
            def store(at: int, lane: Expr, value: Expr) -> None:
                if at >= before and self.split:
                    index = [at - before, place + row, vector, lane]
                    T.buffer_store(self.unfinished, self.unfinished[tuple(index)] + value, index)
                elif at >= before:
                    T.buffer_store(self.products, value, [at - before, row, vector, lane])

            emit_sums(SUMS_OF_PRODUCTS, 7, lambda at, lane: self.products[at, row, vector, lane], store, self.lanes)

        with T.serial(0, tile.rows) as row:
            for vector in range(tile.vectors):
                emit(row, vector)

    def _finish(self, tile: _Tile, quarters: Any, place: Expr) -> None:
        """Emit the epilogue and the stores of a row tile; of rows and columns in both halves the upper and left."""
        halves = self.halves
        with T.serial(0, 2) as half, T.serial(0, tile.rows) as at:
            row = halves.row(tile.pair, half) + at
            again = tirx.all(half == 1, tile.pair % halves.pairs + at == 0) if halves.group_rows % 2 else False
            with _unless(again):
                for side in range(2):
                    for vector in range(tile.vectors):
                        block = tile.block + vector + side * halves.right
                        again = block < halves.half_blocks if side and halves.blocks % 2 else False
                        with _unless(again):
                            self._store(quarters, [half * 2 + side, place + at, vector], row, block, bool(side))

    def _store(self, quarters: Any, place: list[Expr], row: Expr, block: Expr, right: bool) -> None:
        """Emit the finished vector of columns of a row; lane by lane the last, partly filled one."""
        rest = self.product.columns % self.lanes

        def store(lane: Expr) -> None:
            logical, stored = self._place_in_result(row, block * self.lanes + lane)
            value = self.kernel.finish(quarters[(*place, lane)], logical, self.product.result_shape)
            store_element(self.kernel.outputs[0], value, stored)

        if not rest or not right:
            with T.vectorized(0, self.lanes) as lane:
                store(lane)
            return
        with T.If(block < self.halves.blocks - 1):
            with T.Then(), T.vectorized(0, self.lanes) as lane:
                store(lane)
            with T.Else(), T.serial(0, rest) as lane:
                store(lane)

    def _place_in_result(self, row: Expr, column: Expr) -> tuple[list[Expr], list[Expr]]:
        """Return the logical indices of an element of the result and the stored ones."""
        logical = [*unravel(row, self.product.folded), column]
        return logical, [logical[axis] for axis in self.kernel.work.attr("out_axes")]


@contextmanager
def _unless(condition: Expr) -> Iterator[None]:
    """Emit what follows only where a condition, or False, does not hold."""
    if condition is False:
        yield
        return
    with T.If(tirx.Not(condition)), T.Then():
        yield
