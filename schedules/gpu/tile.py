"""A tile of a matrix product in the registers of one thread: 4 rows by a vector of 4 columns.

What Arm recommends for Mali: vector loads along the columns, which neighbouring threads continue, and no local memory,
which is ordinary memory there. Rows past the end are computed from the last one and not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ..kernel import Kernel
from ..vectors import lane_loop

Expr = Any
ROWS = 4
COLUMNS = 4


@dataclass(frozen=True)
class Product:
    """result[batch, row, column] = sum over k of a(batch, row, k) * b(batch, k, column).

    Attributes:
        batch, rows, depth, columns: the extents.
        a, b: the elements.
        logical: the result's logical indices, from (batch, row, column).
        shape: the result's shape; None for the output's.
        axes: the axes of the result that the output's are; None for the same.
        a_by_depth, b_by_depth: whether neighbours along the depth lie side by side, not rows or columns.
    """

    batch: int
    rows: int
    depth: int
    columns: int
    a: Callable[[Expr, Expr, Expr], Expr]
    b: Callable[[Expr, Expr, Expr], Expr]
    logical: Callable[[Expr, Expr, Expr], Sequence[Expr]]
    shape: tuple[int, ...] | None = None
    axes: tuple[int, ...] | None = None
    a_by_depth: bool = True
    b_by_depth: bool = False


def store_result(kernel: Kernel, product: Product, value: Expr, place: tuple[Expr, Expr, Expr]) -> None:
    """Finish and store an element of the result, from (batch, row, column)."""
    logical = list(product.logical(*place))
    value = kernel.finish(value, logical, product.shape)
    kernel.store(value, [logical[axis] for axis in product.axes] if product.axes is not None else logical)


def write_product(kernel: Kernel, product: Product, threads: int) -> None:
    """Emit one launch, a thread for each tile, neighbours along the columns: multiples of COLUMNS, rows of b."""
    across, down = product.columns // COLUMNS, -(-product.rows // ROWS)
    tiles = product.batch * down * across
    group = min(threads, tiles)
    blocks = -(-tiles // group)
    with T.thread_binding(0, blocks, "blockIdx.x") as outer, T.thread_binding(0, group, "threadIdx.x") as inner:
        number = outer * group + inner
        if tiles % group == 0:
            _tile(kernel, product, number, down, across)
        else:
            with T.If(number < tiles), T.Then():
                _tile(kernel, product, number, down, across)


def _tile(kernel: Kernel, product: Product, number: Expr, down: int, across: int) -> None:
    column = number % across * COLUMNS
    first = number // across % down * ROWS
    batch = number // (across * down)
    last = product.rows - 1
    rows = [tirx.min(first + at, last) if product.rows % ROWS else first + at for at in range(ROWS)]
    sums = T.alloc_buffer((ROWS * COLUMNS,), "float32", scope="local")
    for at in range(ROWS):
        with lane_loop(COLUMNS) as lane:
            T.buffer_store(sums, tirx.const(0, "float32"), [at * COLUMNS + lane])
    with T.serial(0, product.depth) as k:
        for at, row in enumerate(rows):
            with lane_loop(COLUMNS) as lane:
                place = at * COLUMNS + lane
                value = sums[place] + product.a(batch, row, k) * product.b(batch, k, column + lane)
                T.buffer_store(sums, value, [place])
    with T.serial(0, ROWS) as at:
        if product.rows % ROWS:
            with T.If(first + at < product.rows), T.Then():
                _store(kernel, product, sums, batch, first, at, column)
        else:
            _store(kernel, product, sums, batch, first, at, column)


def _store(kernel: Kernel, product: Product, sums: Any, batch: Expr, first: Expr, at: Expr, column: Expr) -> None:
    with T.serial(0, COLUMNS) as lane:
        store_result(kernel, product, sums[at * COLUMNS + lane], (batch, first + at, column + lane))
