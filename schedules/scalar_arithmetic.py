"""Arithmetic and rounding: numpy's results for every element type, integer division by zero included (it gives 0)."""

from __future__ import annotations

import math
from typing import Any

from tvm import tirx

from ..tvm_names import let_rounding_be_vectorized
from .bindings import Bindings, Expr, absolute, is_float, is_nan, libm
from .scalar_registry import ALL, FLOATS, INTEGERS, formula, scalar_op

Attrs = dict[str, Any]


@scalar_op("const", dtypes=ALL, cost=0)
def const(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """Attribute ``value``."""
    return tirx.const(attrs["value"], dtype)


formula("add", expression=lambda a, b: a + b)
formula("subtract", expression=lambda a, b: a - b)
formula("multiply", expression=lambda a, b: a * b)
formula("square", expression=lambda a: a * a)
formula("left_shift", expression=lambda a, b: a << b, dtypes=INTEGERS)
formula("right_shift", expression=lambda a, b: a >> b, dtypes=INTEGERS)
formula("sqrt", expression=tirx.sqrt, dtypes=FLOATS, cost=4)


@scalar_op("negative")
def negative(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """A float changes its sign bit, zero's too."""
    if is_float(dtype):
        return args[0] * tirx.const(-1, dtype)
    return tirx.bitwise_not(args[0]) + tirx.const(1, dtype)  # 0 - x of an unsigned x is taken for 0


@scalar_op("divide", cost=4)
def divide(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """Integers divide as in C, towards zero."""
    if is_float(dtype):
        return args[0] / args[1]
    return _guarded(v, tirx.truncdiv, args, dtype, lambda a: tirx.const(0, dtype) - a)


@scalar_op("floor_divide", cost=5)
def floor_divide(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """For floats floor(a / b), which is what Relax means by it."""
    if is_float(dtype):
        return tirx.floor(v.bind(args[0] / args[1]))
    return _guarded(v, tirx.floordiv, args, dtype, lambda a: tirx.const(0, dtype) - a)


@scalar_op("mod", cost=5)
def mod(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """The remainder with the sign of the dividend, as C's."""
    if is_float(dtype):
        return libm("fmod", *args)
    return _guarded(v, tirx.truncmod, args, dtype, lambda a: tirx.const(0, dtype))


@scalar_op("floor_mod", cost=6)
def floor_mod(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """The remainder with the sign of the divisor, as Python's."""
    if not is_float(dtype):
        return _guarded(v, tirx.floormod, args, dtype, lambda a: tirx.const(0, dtype))
    zero = tirx.const(0, dtype)
    rest = v.bind(libm("fmod", *args))
    opposite = tirx.any(tirx.all(rest < zero, args[1] > zero), tirx.all(rest > zero, args[1] < zero))
    return tirx.Select(opposite, rest + args[1], rest)


def _guarded(v: Bindings, divide: Any, args: list[Expr], dtype: str, by_minus_one: Any) -> Expr:
    """Divide where the machine would trap on 0 and on the least integer by -1: 0 gives 0, -1 its own formula."""
    a, b = args
    zero, one = tirx.const(0, dtype), tirx.const(1, dtype)
    if isinstance(b, tirx.IntImm) and int(b.value) > 0:
        return divide(a, b)
    if dtype.startswith("uint"):
        quotient = v.bind(divide(a, v.bind(tirx.max(b, one))))
        return tirx.Select(b > zero, quotient, zero)
    minus = tirx.const(-1, dtype)
    unsafe = v.bind(tirx.all(b >= minus, b <= zero))
    quotient = v.bind(divide(a, v.bind(tirx.Select(unsafe, one, b))))
    return tirx.Select(unsafe, tirx.Select(b < zero, by_minus_one(a), zero), quotient)


@scalar_op("maximum")
def maximum(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """NaN in either argument gives NaN."""
    return _extremum(tirx.max, args, dtype)


@scalar_op("minimum")
def minimum(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """NaN in either argument gives NaN."""
    return _extremum(tirx.min, args, dtype)


def _extremum(choose: Any, args: list[Expr], dtype: str) -> Expr:
    """The IR's max(a, b) is ``a > b ? a : b``, which gives b for NaN: a known number comes first and costs no test."""
    a, b = args
    if not is_float(dtype) or _is_number(a):
        return choose(a, b)
    if _is_number(b):
        return choose(b, a)
    return tirx.Select(is_nan(a), a, choose(a, b))


def _is_number(value: Expr) -> bool:
    return isinstance(value, tirx.FloatImm) and not math.isnan(value.value)


@scalar_op("clip", cost=2)
def clip(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """Attributes ``min`` and ``max``; NaN stays. Where min > max the result is max, as numpy's."""
    low = _extremum(tirx.max, [args[0], tirx.const(attrs["min"], dtype)], dtype)
    return _extremum(tirx.min, [v.bind(low), tirx.const(attrs["max"], dtype)], dtype)


@scalar_op("abs")
def abs_(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """The least signed integer stays what it is."""
    if is_float(dtype):
        return absolute(args[0])
    return args[0] if dtype.startswith("uint") else tirx.max(args[0], tirx.const(0, dtype) - args[0])


@scalar_op("sign", cost=2)
def sign(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """-1, 0 or 1; zeros and NaN stay what they are."""
    zero, one = tirx.const(0, dtype), tirx.const(1, dtype)
    below = args[0] if dtype.startswith("uint") else tirx.Select(args[0] < zero, tirx.const(-1, dtype), args[0])
    return tirx.Select(args[0] > zero, one, below)


def _rounding(intrinsic: Any, *names: str) -> None:
    @scalar_op(*names)
    def build(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
        return intrinsic(args[0]) if is_float(dtype) else args[0]


_rounding(tirx.floor, "floor")
_rounding(tirx.ceil, "ceil")
_rounding(tirx.trunc, "trunc")
_rounding(tirx.nearbyint, "round")  # half to even
let_rounding_be_vectorized()


@scalar_op("rsqrt", dtypes=FLOATS, cost=8)
def rsqrt(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """A true division: hardware's estimates have 12 bits."""
    return tirx.const(1, dtype) / v.bind(tirx.sqrt(args[0]))
