"""A tile of a matrix product in the memory that the threads of a block share, and 4 x 4 of it in each one's registers.

The blocking of Volkov and Demmel (2008): a block of threads walks along the depth; at each step all load one slab of
either operand, wait, and multiply out of the shared memory, where a loaded element serves a whole row or column of the
tile. What lies past an edge is loaded as zero and not stored, so any size is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...targets.target import Target
from ..kernel import Kernel
from ..template import NotApplicable
from ..vectors import lane_loop
from .fallback import threads_of
from .tile import COLUMNS, ROWS, Product, store_result

Expr = Any

#: The edges of a block's tile, the largest first; a square tile needs the fewest loads.
_EDGES = (64, 32)
DEPTH = 16
#: Floats between two slices of a slab: threads that store neighbours of the depth meet different banks.
_SKEW = 4
#: A tile of which less than this share is inside the result costs more than a thread for each element.
_FILLED = 0.25


def write_shared_product(kernel: Kernel, product: Product, target: Target, tile: type[Tile] | None = None) -> None:
    """Emit one launch, a block of threads for each tile, which ``tile`` writes.

    Raises NotApplicable where most of every tile would lie outside of the result.
    """
    edge = _edge(product, target)
    if min(product.rows, edge) * min(product.columns, edge) < _FILLED * edge * edge:
        raise NotApplicable
    down, across = -(-product.rows // edge), -(-product.columns // edge)
    blocks, threads = product.batch * down * across, _threads_of_tile(edge)
    with T.thread_binding(0, blocks, "blockIdx.x") as block, T.thread_binding(0, threads, "threadIdx.x") as thread:
        first_row, first_column = block // across % down * edge, block % across * edge
        writer = tile or Tile
        writer(kernel, product, edge, thread, block // (across * down), first_row, first_column).write()


def _threads_of_tile(edge: int) -> int:
    """Return how many threads compute a square tile."""
    return edge * edge // (ROWS * COLUMNS)


def _edge(product: Product, target: Target) -> int:
    """Return the largest edge whose tiles occupy every core of the device, the smallest where none does."""
    allowed = [edge for edge in _EDGES if _threads_of_tile(edge) <= threads_of(target)]
    tiles = {edge: product.batch * -(-product.rows // edge) * -(-product.columns // edge) for edge in allowed}
    return next((edge for edge in allowed if tiles[edge] >= target.facts.cores), allowed[-1])


class Tile:
    """Writes what a thread does for the tile of its block."""

    def __init__(
        self, kernel: Kernel, product: Product, edge: int, thread: Expr, batch: Expr, row: Expr, column: Expr
    ) -> None:
        self.kernel, self.product, self.edge, self.threads = kernel, product, edge, _threads_of_tile(edge)
        self.thread, self.batch, self.first_row, self.first_column = thread, batch, row, column
        self.stride = edge + _SKEW

    def write(self) -> None:
        """Emit the walk along the depth, then the stores."""
        product = self.product
        left = T.alloc_buffer((DEPTH * self.stride,), "float32", scope="shared")
        right = T.alloc_buffer((DEPTH * self.stride,), "float32", scope="shared")
        sums = T.alloc_buffer((ROWS * COLUMNS,), "float32", scope="local")
        for at in range(ROWS):
            with lane_loop(COLUMNS) as lane:
                T.buffer_store(sums, tirx.const(0, "float32"), [at * COLUMNS + lane])
        with T.serial(0, -(-product.depth // DEPTH)) as slab:
            first = slab * DEPTH
            with self._slab(product.a_by_depth) as (k, at):
                row = self.first_row + at
                value = _guarded(self._inside(rows=row, depth=first + k), product.a(self.batch, row, first + k))
                T.buffer_store(left, self.shared(value), [k * self.stride + at])
            with self._slab(product.b_by_depth) as (k, at):
                column = self.first_column + at
                inside = self._inside(depth=first + k, columns=column)
                value = _guarded(inside, product.b(self.batch, first + k, column))
                T.buffer_store(right, self.shared(value), [k * self.stride + at])
            T.evaluate(T.tvm_storage_sync("shared"))
            self.multiply(left, right, sums)
            T.evaluate(T.tvm_storage_sync("shared"))
        with T.serial(0, ROWS) as down, T.serial(0, COLUMNS) as across:
            self._store(sums, down, across)

    @contextmanager
    def _slab(self, by_depth: bool) -> Iterator[tuple[Expr, Expr]]:
        """Share the elements of a slab among the threads; gives each one's depth and place along the edge.

        Neighbouring threads take what lies side by side in memory.
        """
        with T.serial(0, self.edge * DEPTH // self.threads) as turn:
            element = turn * self.threads + self.thread
            fast = DEPTH if by_depth else self.edge
            inner, outer = element % fast, element // fast
            yield (inner, outer) if by_depth else (outer, inner)

    def shared(self, value: Expr) -> Expr:
        """Return what is kept of an element in shared memory."""
        return value

    def place(self, down: Expr, across: Expr) -> tuple[Expr, Expr]:
        """Return the row and the column in the tile of a thread's sum, the sums being ROWS by COLUMNS."""
        wide = self.edge // COLUMNS
        return self.thread // wide * ROWS + down, self.thread % wide * COLUMNS + across

    def multiply(self, left: Any, right: Any, sums: Any) -> None:
        """Emit the products of two slabs, which all threads have loaded."""
        row, column = self.place(0, 0)
        with T.serial(0, DEPTH) as k:
            for at in range(ROWS):
                with lane_loop(COLUMNS) as lane:
                    place = at * COLUMNS + lane
                    value = left[k * self.stride + row + at] * right[k * self.stride + column + lane]
                    T.buffer_store(sums, sums[place] + value, [place])

    def _store(self, sums: Any, down: Expr, across: Expr) -> None:
        in_row, in_column = self.place(down, across)
        row, column = self.first_row + in_row, self.first_column + in_column
        value = sums[down * COLUMNS + across]
        inside = self._inside(rows=row, columns=column)
        if inside is None:
            store_result(self.kernel, self.product, value, (self.batch, row, column))
            return
        with T.If(inside), T.Then():
            store_result(self.kernel, self.product, value, (self.batch, row, column))

    def _inside(self, **places: Expr) -> Expr | None:
        """Return whether places are inside of the product; None where tiles and slabs fill it."""
        sizes = {"rows": self.edge, "columns": self.edge, "depth": DEPTH}
        extents = {name: getattr(self.product, name) for name in places}
        tests = [place < extents[name] for name, place in places.items() if extents[name] % sizes[name]]
        return tirx.all(*tests) if tests else None


def _guarded(inside: Expr | None, value: Expr) -> Expr:
    return value if inside is None else tirx.if_then_else(inside, value, tirx.const(0, "float32"))
