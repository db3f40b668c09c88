"""Comparisons, logic, tests of special values, selection and conversion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from .bindings import Bindings, Expr, dtype_of, infinity_bits, is_float, is_nan, magnitude_bits, number_of
from .scalar_registry import ALL, INTEGERS, formula, scalar_op

Attrs = dict[str, Any]
_BOOL = ("bool",)


def _truth(value: Expr) -> Expr:
    """Return whether a value is not zero; NaN is true."""
    dtype = dtype_of(value)
    if dtype == "bool":
        return value
    bits = magnitude_bits(value) if is_float(dtype) else value
    return tirx.NE(bits, tirx.const(0, dtype_of(bits)))


def _as_byte(value: Expr) -> Expr:
    return number_of(value, "int8") if dtype_of(value) == "bool" else value


def _comparison(compare: Any, holds_for_itself: bool, *names: str) -> None:
    """Register a comparison. The simplifier folds ``x == x``, which is false for NaN, so that is written out."""

    @scalar_op(*names, dtypes=_BOOL)
    def build(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
        a, b = args
        if a.same_as(b) and is_float(dtype_of(a)):
            number = magnitude_bits(a) <= infinity_bits(dtype_of(a))
            return number if holds_for_itself else tirx.const(False, "bool")
        return compare(_as_byte(a), _as_byte(b))


_comparison(lambda a, b: tirx.EQ(a, b), True, "equal")
_comparison(lambda a, b: a < b, False, "less")
_comparison(lambda a, b: a <= b, True, "less_equal")
_comparison(lambda a, b: a > b, False, "greater")
_comparison(lambda a, b: a >= b, True, "greater_equal")


@scalar_op("not_equal", dtypes=_BOOL)
def not_equal(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """NaN differs from everything, itself included; the IR's own comparison says no for NaN."""
    a, b = args
    if is_float(dtype_of(a)):
        return tirx.any(tirx.NE(a, b), is_nan(a), is_nan(b))
    return tirx.NE(_as_byte(a), _as_byte(b))


formula("logical_and", expression=lambda a, b: tirx.And(_truth(a), _truth(b)), dtypes=_BOOL)
formula("logical_or", expression=lambda a, b: tirx.Or(_truth(a), _truth(b)), dtypes=_BOOL)
formula("logical_xor", expression=lambda a, b: tirx.NE(_as_byte(_truth(a)), _as_byte(_truth(b))), dtypes=_BOOL)
formula("logical_not", expression=lambda a: tirx.Not(_truth(a)), dtypes=_BOOL)


def _bitwise(combine: Any, name: str) -> None:
    @scalar_op(name, dtypes=(*INTEGERS, "bool"))
    def build(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
        if dtype != "bool":
            return combine(*args)
        return tirx.NE(combine(*map(_as_byte, args)), tirx.const(0, "int8"))


_bitwise(lambda a, b: a & b, "bitwise_and")
_bitwise(lambda a, b: a | b, "bitwise_or")
_bitwise(lambda a, b: a ^ b, "bitwise_xor")


@scalar_op("bitwise_not", dtypes=(*INTEGERS, "bool"))
def bitwise_not(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """On booleans the negation."""
    return tirx.Not(args[0]) if dtype == "bool" else tirx.bitwise_not(args[0])


def _test(name: str, test: Callable[[Expr, Expr], Expr], integers: bool) -> None:
    """Register a test of a float's magnitude bits against infinity's, and its constant answer for integers."""

    @scalar_op(name, dtypes=_BOOL, cost=2)
    def build(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
        source = dtype_of(args[0])
        if not is_float(source):
            return tirx.const(integers, "bool")
        return test(magnitude_bits(args[0]), infinity_bits(source))


_test("isnan", lambda bits, infinity: bits > infinity, False)
_test("isinf", lambda bits, infinity: tirx.EQ(bits, infinity), False)
_test("isfinite", lambda bits, infinity: bits < infinity, True)


@scalar_op("where", dtypes=ALL)
def where(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """Both sides are computed; the condition may be any number."""
    condition, yes, no = args
    if dtype != "bool":
        return tirx.Select(_truth(condition), yes, no)
    return tirx.NE(tirx.Select(_truth(condition), _as_byte(yes), _as_byte(no)), tirx.const(0, "int8"))


@scalar_op("astype", dtypes=ALL)
def astype(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """Floats become narrow integers by way of int32 (uint32: int64), so that what does not fit wraps as in numpy."""
    (value,) = args
    source = dtype_of(value)
    if dtype == "bool":
        return _truth(value)
    if source == "bool":
        return number_of(value, dtype)
    if is_float(source) and dtype in ("int8", "int16", "uint8", "uint16"):
        return v.bind(value.astype("int32")).astype(dtype)
    if is_float(source) and dtype == "uint32":
        return v.bind(value.astype("int64")).astype(dtype)
    return value.astype(dtype)
