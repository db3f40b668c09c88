"""Inverses of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm import te, tirx
from tvm.tirx.script.builder import ir as T

from .expressions import split_index
from .loops import written
from .operator import tensor_function

_DOUBLE = "float64"


@tensor_function("inverse")
def inverse(x: te.Tensor) -> te.Tensor:
    """The inverses [*batch, n, n] of matrices, by Gauss-Jordan elimination with row pivots, in double precision.

    A singular matrix gives infinities and NaN.
    """
    *batch, _, n = (int(size) for size in x.shape)

    def write(inputs: Sequence[Any], out: Any) -> None:
        # The matrix, and beside it what becomes its inverse.
        rows = T.alloc_buffer((n, 2 * n), _DOUBLE)
        with T.serial(0, math.prod(batch)) as b:
            with T.serial(0, n) as i, T.serial(0, n) as j:
                T.buffer_store(rows, tirx.Cast(_DOUBLE, inputs[0][(*split_index(b, batch), i, j)]), [i, j])
                one = tirx.Select(tirx.EQ(i, j), tirx.const(1, _DOUBLE), tirx.const(0, _DOUBLE))
                T.buffer_store(rows, one, [i, n + j])
            with T.serial(0, n) as step:
                _pivot(rows, n, step)
                _clear(rows, n, step)
            with T.serial(0, n) as i, T.serial(0, n) as j:
                T.buffer_store(out, tirx.Cast(x.dtype, rows[i, n + j]), [*split_index(b, batch), i, j])

    return written((*batch, n, n), x.dtype, [x], write, "inverse")


def _pivot(rows: Any, n: int, step: Any) -> None:
    """Exchange a row with that below it whose element is the largest, and divide it by that element."""
    best = T.alloc_buffer((1,), "int32")
    held = T.alloc_buffer((1,), _DOUBLE)
    T.buffer_store(best, tirx.Cast("int32", step), [0])
    with T.serial(0, n - step) as down:
        row = step + down
        with T.If(tirx.abs(rows[row, step]) > tirx.abs(rows[best[0], step])), T.Then():
            T.buffer_store(best, tirx.Cast("int32", row), [0])
    with T.serial(0, 2 * n) as j:
        T.buffer_store(held, rows[step, j], [0])
        T.buffer_store(rows, rows[best[0], j], [step, j])
        T.buffer_store(rows, held[0], [best[0], j])
    T.buffer_store(held, rows[step, step], [0])
    with T.serial(0, 2 * n) as j:
        T.buffer_store(rows, rows[step, j] / held[0], [step, j])


def _clear(rows: Any, n: int, step: Any) -> None:
    """Subtract multiples of a row from all others, so that their elements of this column become zero."""
    held = T.alloc_buffer((1,), _DOUBLE)
    with T.serial(0, n) as i, T.If(tirx.NE(i, step)), T.Then():
        T.buffer_store(held, rows[i, step], [0])
        with T.serial(0, 2 * n) as j:
            T.buffer_store(rows, rows[i, j] - held[0] * rows[step, j], [i, j])
