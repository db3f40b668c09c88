"""What Strassen and Winograd's algorithm adds and multiplies, and how its operands are cut in halves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm.tirx.script.builder import ir as T

from ...targets.target import Target
from ..kernel import balanced, starts
from ..template import NotApplicable
from .matmul import Product
from .register_tile import EXACT_DEPTH

Expr = Any
Runs = list[tuple[int, int, int]]
#: Sums in turn, each of two values: those given, numbered from zero, then the sums before. The sign is the second's.
Program = tuple[tuple[int, str, int], ...]

#: Of A11, A12, A21, A22: S1, S2, S3, S4.
SUMS_OF_A: Program = ((2, "+", 3), (4, "-", 0), (0, "-", 2), (1, "-", 5))
#: Of B11, B12, B21, B22: T1, T2, T3, -T4.
SUMS_OF_B: Program = ((1, "-", 0), (3, "-", 4), (3, "-", 1), (2, "-", 5))
#: Of P1, P2, P3, -P4, P5, P6, P7: U2, U3, U4, then C11, C12, C21, C22.
SUMS_OF_PRODUCTS: Program = (
    (0, "+", 5), (7, "+", 6), (7, "+", 4),
    (0, "+", 1), (9, "+", 2), (8, "+", 3), (8, "+", 4),
)  # fmt: skip
#: Rows of the last axis from which on halves are taken inside it, so that the entries of a batch do not meet.
ROWS_OF_A_GROUP = 64


def emit_sums(
    program: Program,
    given: int,
    load: Callable[[int, Expr], Expr],
    store: Callable[[int, Expr, Expr], None],
    lanes: int,
    width: int | None = None,
) -> None:
    """Emit a program on vectors: ``load(number, lane)`` gives a value, ``store(number, lane, value)`` takes a sum.

    Args:
        given: how many values there are before the sums.
        lanes: the most lanes a vector has.
        width: lanes of these vectors; None for all.
    """
    width = width or lanes
    values = T.alloc_buffer((given + len(program), lanes), "float32")
    for at in range(given):
        with T.vectorized(0, width) as lane:
            T.buffer_store(values, load(at, lane), [at, lane])
    for at, (left, sign, right) in enumerate(program):
        with T.vectorized(0, width) as lane:
            a, b = values[left, lane], values[right, lane]
            T.buffer_store(values, a + b if sign == "+" else a - b, [given + at, lane])
    for at in range(len(program)):
        with T.vectorized(0, width) as lane:
            store(at, lane, values[given + at, lane])


@dataclass(frozen=True)
class Halves:
    """How the operands are cut. Halves of an odd number of rows or blocks overlap by one, which is stored once.

    Attributes:
        groups: groups of rows, each cut in halves of its own.
        group_rows: rows of a group.
        depth: half of K.
        blocks: vectors of columns.
    """

    groups: int
    group_rows: int
    depth: int
    blocks: int

    @staticmethod
    def of(product: Product, lanes: int) -> Halves:
        """Return the halves of a product. Raises NotApplicable where there are none."""
        blocks = -(-product.columns // lanes)
        if product.batch or product.depth % 2 or min(product.rows, product.depth, blocks) < 2:
            raise NotApplicable
        group = product.folded[-1] if product.folded[-1] >= ROWS_OF_A_GROUP else product.rows
        return Halves(product.rows // group, group, product.depth // 2, blocks)

    @property
    def pairs(self) -> int:
        """Pairs of an upper and a lower row in a group."""
        return -(-self.group_rows // 2)

    @property
    def lower(self) -> int:
        """The row of a group where the lower half begins."""
        return self.group_rows - self.pairs

    @property
    def half_blocks(self) -> int:
        """Vectors of columns of a half."""
        return -(-self.blocks // 2)

    @property
    def right(self) -> int:
        """The vector of columns where the right half begins."""
        return self.blocks - self.half_blocks

    def row(self, pair: Expr, half: Expr) -> Expr:
        """Return the upper (0) or lower (1) row of a pair; pairs are counted through all groups."""
        return pair // self.pairs * self.group_rows + pair % self.pairs + half * self.lower


@dataclass(frozen=True)
class Plan:
    """How the loops are cut, each run (first, size, count).

    Attributes:
        parts: of half the depth: T of one fits the second-level cache together with the next part's weights.
        rows: tiles of the pairs of a group.
        columns: tiles of the vectors of columns of a half.
        chunks: parts of the rows: enough for the cores, and where there are parts of the depth so many that the
            unfinished sums of a chunk fit the second-level cache, too.
    """

    parts: Runs
    rows: Runs
    columns: Runs
    chunks: int

    @staticmethod
    def of(halves: Halves, target: Target, vectors: int, tile: int) -> Plan:
        """Return the plan for column tiles of so many vectors and row tiles of so many pairs."""
        facts, vector_bytes = target.facts, 4 * target.lanes()
        deepest = facts.l2_bytes * 3 // 8 // (7 * vectors * vector_bytes)
        parts = starts(balanced(halves.depth, max(1, min(EXACT_DEPTH, deepest))))
        rows = starts(balanced(halves.pairs, tile))
        columns = starts(balanced(halves.half_blocks, vectors))
        wanted = -(-2 * facts.cores // sum(count for *_, count in columns)) if facts.cores > 1 else 1
        if sum(count for *_, count in parts) > 1:
            unfinished = 4 * halves.groups * halves.pairs * vectors * vector_bytes
            wanted = max(wanted, -(-8 * unfinished // facts.l2_bytes))
        return Plan(parts, rows, columns, min(wanted, max(halves.groups * count for *_, count in rows)))
