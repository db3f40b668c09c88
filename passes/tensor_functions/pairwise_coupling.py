"""Probabilities of classes from those of pairs of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import te, tirx
from tvm.tirx.script.builder import ir as T

from .loops import written
from .operator import tensor_function

_DOUBLE = "float64"


@tensor_function("pairwise_coupling")
def pairwise_coupling(pairs: te.Tensor) -> te.Tensor:
    """The probabilities [N, C] that fit those of pairs [N, C, C] best: ``pairs[i, j]``, of i where it is i or j.

    They minimize the sum over pairs of (pairs[j, i] p[i] - pairs[i, j] p[j])^2, by the fixed-point iteration of Wu, Lin
    and Weng, Probability Estimates for Multi-class Classification by Pairwise Coupling, 2004 (algorithm 2), in double
    precision. It stops where libsvm's stops, at an error of 0.005 / C, because fitted models were judged there.
    """
    count, classes = int(pairs.shape[0]), int(pairs.shape[1])
    limit = tirx.const(0.005 / classes, _DOUBLE)

    def write(inputs: Sequence[Any], out: Any) -> None:
        matrix = T.alloc_buffer((classes, classes), _DOUBLE)
        guess = T.alloc_buffer((classes,), _DOUBLE)
        product = T.alloc_buffer((classes,), _DOUBLE)
        numbers = T.alloc_buffer((3,), _DOUBLE)
        with T.serial(0, count) as row:
            _start(inputs[0], row, matrix, guess, classes)
            T.buffer_store(numbers, tirx.const(1, _DOUBLE), [_ERROR])
            with T.serial(0, max(100, classes)), T.If(numbers[_ERROR] >= limit), T.Then():
                _measure(matrix, guess, product, numbers, classes)
                with T.If(numbers[_ERROR] >= limit), T.Then():
                    _improve(matrix, guess, product, numbers, classes)
            with T.serial(0, classes) as at:
                T.buffer_store(out, tirx.Cast(pairs.dtype, guess[at]), [row, at])

    return written((count, classes), pairs.dtype, [pairs], write, "pairwise_coupling")


#: What stands in ``numbers``: the value of the quadratic form, the largest error, and the step.
_FORM, _ERROR, _STEP = range(3)


def _start(pairs: Any, row: Any, matrix: Any, guess: Any, classes: int) -> None:
    """Write the quadratic form of a row's pairs, and equal probabilities."""
    with T.serial(0, classes) as i:
        T.buffer_store(guess, tirx.const(1.0 / classes, _DOUBLE), [i])
        T.buffer_store(matrix, tirx.const(0, _DOUBLE), [i, i])
        with T.serial(0, classes) as j, T.If(tirx.NE(i, j)), T.Then():
            lost = tirx.Cast(_DOUBLE, pairs[row, j, i])
            T.buffer_store(matrix, matrix[i, i] + lost * lost, [i, i])
            T.buffer_store(matrix, -lost * tirx.Cast(_DOUBLE, pairs[row, i, j]), [i, j])


def _measure(matrix: Any, guess: Any, product: Any, numbers: Any, classes: int) -> None:
    """Write the matrix times the guess, the form's value, and how far the guess is from a fixed point."""
    T.buffer_store(numbers, tirx.const(0, _DOUBLE), [_FORM])
    with T.serial(0, classes) as i:
        T.buffer_store(product, tirx.const(0, _DOUBLE), [i])
        with T.serial(0, classes) as j:
            T.buffer_store(product, product[i] + matrix[i, j] * guess[j], [i])
        T.buffer_store(numbers, numbers[_FORM] + guess[i] * product[i], [_FORM])
    T.buffer_store(numbers, tirx.const(0, _DOUBLE), [_ERROR])
    with T.serial(0, classes) as i:
        T.buffer_store(numbers, te.max(numbers[_ERROR], tirx.abs(product[i] - numbers[_FORM])), [_ERROR])


def _improve(matrix: Any, guess: Any, product: Any, numbers: Any, classes: int) -> None:
    """Move one probability after the other to its minimum, and make their sum one again."""
    with T.serial(0, classes) as i:
        T.buffer_store(numbers, (numbers[_FORM] - product[i]) / matrix[i, i], [_STEP])
        T.buffer_store(guess, guess[i] + numbers[_STEP], [i])
        step, whole = numbers[_STEP], numbers[_STEP] + tirx.const(1, _DOUBLE)
        form = numbers[_FORM] + step * (step * matrix[i, i] + product[i] + product[i])
        T.buffer_store(numbers, form / (whole * whole), [_FORM])
        with T.serial(0, classes) as j:
            T.buffer_store(product, (product[j] + step * matrix[i, j]) / whole, [j])
            T.buffer_store(guess, guess[j] / whole, [j])
