"""Determinants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm import te, tirx
from tvm.tirx.script.builder import ir as T

from .expressions import split_index
from .loops import written
from .operator import tensor_function


@tensor_function("determinant")
def determinant(x: te.Tensor) -> te.Tensor:
    """The determinants [*batch] of matrices [*batch, n, n], by elimination with row pivots, in double precision."""
    *batch, _, n = (int(size) for size in x.shape)
    count = math.prod(batch)
    flat = te.compute((count, n, n), lambda b, i, j: x(*split_index(b, batch), i, j), "matrices")

    def write(inputs: Sequence[Any], out: Any) -> None:
        rows = T.alloc_buffer((n, n), "float64")
        total = T.alloc_buffer((1,), "float64")
        with T.serial(0, count) as b:
            with T.serial(0, n) as i, T.serial(0, n) as j:
                T.buffer_store(rows, tirx.Cast("float64", inputs[0][b, i, j]), [i, j])
            T.buffer_store(total, tirx.const(1, "float64"), [0])
            with T.serial(0, n) as step:
                _eliminate(rows, total, n, step)
            T.buffer_store(out, tirx.Cast(x.dtype, total[0]), [b])

    result = written((count,), x.dtype, [flat], write, "determinant")
    inner = [math.prod(batch[at + 1 :]) for at in range(len(batch))]
    return te.compute(
        tuple(batch), lambda *at: result(sum(i * size for i, size in zip(at, inner, strict=True))), "determinants"
    )


def _eliminate(rows: Any, total: Any, n: int, step: Any) -> None:
    pivot = T.alloc_buffer((1,), "int32")
    held = T.alloc_buffer((1,), "float64")
    T.buffer_store(pivot, tirx.Cast("int32", step), [0])
    with T.serial(0, n - step) as down:
        row = step + down
        with T.If(tirx.abs(rows[row, step]) > tirx.abs(rows[pivot[0], step])), T.Then():
            T.buffer_store(pivot, tirx.Cast("int32", row), [0])
    with T.If(tirx.NE(pivot[0], tirx.Cast("int32", step))), T.Then():
        T.buffer_store(total, -total[0], [0])
        with T.serial(0, n) as j:
            T.buffer_store(held, rows[step, j], [0])
            T.buffer_store(rows, rows[pivot[0], j], [step, j])
            T.buffer_store(rows, held[0], [pivot[0], j])
    T.buffer_store(total, total[0] * rows[step, step], [0])
    with T.If(tirx.NE(rows[step, step], tirx.const(0, "float64"))), T.Then(), T.serial(0, n - 1 - step) as down:
        T.buffer_store(held, rows[step + 1 + down, step] / rows[step, step], [0])
        with T.serial(0, n) as j:
            row = step + 1 + down
            T.buffer_store(rows, rows[row, j] - held[0] * rows[step, j], [row, j])
