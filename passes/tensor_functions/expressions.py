"""Scalar expressions that several tensor functions share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import te, tirx

Expr = Any


def like(value: Expr, number: float) -> Expr:
    """Return a number in the element type of an expression."""
    return tirx.const(number, value.ty.dtype)


def chosen(index: Expr, values: list[Expr]) -> Expr:
    """Return the value at an index known at run time; an index that is constant chooses at once."""
    result = values[-1]
    for at, value in reversed(list(enumerate(values[:-1]))):
        result = tirx.Select(index == at, value, result)
    return result


def clamped(value: Expr, low: float, high: float) -> Expr:
    """Return a value kept between two numbers; what is not a number becomes one of them."""
    return te.max(te.min(value, like(value, high)), like(value, low))


def half_even(value: Expr) -> Expr:
    """Return the nearest whole number, of two that are as near the even one."""
    low = te.floor(value)
    rest = value - low
    odd = low - 2.0 * te.floor(low * 0.5)
    return low + tirx.Select(tirx.any(rest > 0.5, tirx.all(rest >= 0.5, odd > 0.5)), like(value, 1), like(value, 0))


def split_index(index: Expr, sizes: Sequence[int]) -> list[Expr]:
    """Return the indices along axes of a position in row-major order."""
    parts = []
    for size in reversed(sizes):
        parts.append(te.floormod(index, size))
        index = te.floordiv(index, size)
    return parts[::-1]
