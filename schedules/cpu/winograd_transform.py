"""The transforms of Winograd convolution as vector code: a small exact matrix on both sides of a tile of vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from fractions import Fraction
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...winograd import Matrix

Expr = Any
Vectors = Sequence[Expr]


def combine(row: Sequence[Fraction], values: Vectors) -> Expr:
    """Return the sum of the values, each times its coefficient, without products by one and terms by zero."""
    total: Expr = None
    for factor, value in sorted(zip(row, values, strict=True), key=lambda term: term[0] < 0):
        if factor == 0:
            continue
        term = value if abs(factor) == 1 else value * tirx.const(float(abs(factor)), "float32")
        if total is None:
            total = term if factor > 0 else tirx.const(0.0, "float32") - term
        else:
            total = total + term if factor > 0 else total - term
    return total


def _equal_but_for_signs(first: Sequence[Fraction], second: Sequence[Fraction]) -> bool:
    return first != second and all(abs(one) == abs(other) for one, other in zip(first, second, strict=True))


def product(matrix: Matrix, row: int, values: Vectors) -> Expr:
    """Return one row of matrix x values, written so that the compiler finds what rows share.

    Two rows that differ in signs are the sum and the difference of their even and odd halves; where there are none,
    two columns that differ in signs enter all rows by their sum and difference.
    """
    mine = matrix[row]
    for other, theirs in enumerate(matrix):
        if other != row and _equal_but_for_signs(mine, theirs):
            even = [(one + two) / 2 for one, two in zip(mine, theirs, strict=True)]
            odd = [(one - two) / 2 for one, two in zip(matrix[min(row, other)], matrix[max(row, other)], strict=True)]
            halves = combine(even, values), combine(odd, values)
            return halves[0] + halves[1] if row < other else halves[0] - halves[1]
    columns = list(zip(*matrix, strict=True))
    factors, terms = list(mine), list(values)
    for at, column in enumerate(columns[:-1]):
        if _equal_but_for_signs(column, columns[at + 1]):
            pair = values[at] + values[at + 1] if mine[at] == mine[at + 1] else values[at] - values[at + 1]
            terms[at], factors[at + 1] = pair, Fraction(0)
    return combine(factors, terms)


class Transform:
    """Applies a matrix to both sides of a tile of vectors, through a buffer of one vector an element.

    A one-dimensional transform of the columns, then one of the rows: matrix x tile x matrix^T.
    """

    def __init__(self, matrix: Matrix, lanes: int) -> None:
        self.matrix, self.lanes = matrix, lanes
        self.out, self.size = len(matrix), len(matrix[0])
        self._columns = T.alloc_buffer((self.out, self.size, lanes), "float32", scope="local")

    def emit(
        self,
        load: Callable[[int, int, Expr], Expr],
        store: Callable[[int, int, Expr, Expr], None],
        present: Callable[[int, int], list[Expr]] = lambda row, column: [],
    ) -> None:
        """Emit the transform of ``load(row, column, lane)`` into ``store(row, column, lane, value)`` where present."""
        for column in range(self.size):
            for row in range(self.out):
                with T.vectorized(0, self.lanes) as lane:
                    values = [load(at, column, lane) for at in range(self.size)]
                    T.buffer_store(self._columns, product(self.matrix, row, values), [row, column, lane])
        for row in range(self.out):
            for column in range(self.out):
                with ExitStack() as scope:
                    if present(row, column):
                        scope.enter_context(T.If(tirx.all(*present(row, column))))
                        scope.enter_context(T.Then())
                    lane = scope.enter_context(T.vectorized(0, self.lanes))
                    values = [self._columns[row, at, lane] for at in range(self.size)]
                    store(row, column, lane, product(self.matrix, column, values))
