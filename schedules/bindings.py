"""Named values inside a scalar expression, and the bit-level helpers that keep to IEEE where the IR does not."""

from __future__ import annotations

from typing import Any

from tvm import te, tirx

Expr = Any
"""A scalar TIR expression."""

_INTEGER = {"float16": "int16", "float32": "int32", "float64": "int64"}

#: The analyzer remembers the bounds that an integer ``let`` gives its variable, meets it again below a float or a call,
#: where it knows no ``let``, and fails on the difference. It infers nothing for a float, so integer results leave their
#: bindings as the bits of one, which costs no instruction.
_CARRIER = {"int8": "float32", "int16": "float32", "int32": "float32", "int64": "float64"}

_SIGN_FREE = {"float16": 0x7FFF, "float32": 0x7FFFFFFF, "float64": 0x7FFFFFFFFFFFFFFF}
_INFINITY = {"float16": 0x7C00, "float32": 0x7F800000, "float64": 0x7FF0000000000000}


def dtype_of(expr: Expr) -> str:
    """Return the element type of a scalar expression, in numpy's spelling."""
    return str(expr.ty.dtype)


def is_float(dtype: str) -> bool:
    """Return whether the element type is a floating-point one."""
    return dtype.startswith(("float", "bfloat"))


class Bindings:
    """Collects ``let`` bindings, so that a value used twice is computed once and expressions stay small."""

    def __init__(self) -> None:
        self._bound: list[tuple[Any, Expr]] = []

    def bind(self, value: Expr) -> Expr:
        """Return a variable that stands for the value; constants and variables stand for themselves."""
        if isinstance(value, te.TensorSlice):
            value = value.asobject()
        if isinstance(value, (tirx.Var, tirx.IntImm, tirx.FloatImm)):
            return value
        if dtype_of(value) == "bool":
            return tirx.NE(self.bind(number_of(value, "int32")), tirx.const(0, "int32"))
        variable = tirx.Var(f"v{len(self._bound)}", dtype_of(value))
        self._bound.append((variable, _unbounded(value)))
        return variable

    def close(self, result: Expr) -> Expr:
        """Return the result inside all bindings made so far."""
        dtype = dtype_of(result)
        carrier = _CARRIER.get(dtype) if self._bound else None
        if carrier:
            result = tirx.reinterpret(carrier, result.astype(_INTEGER[carrier]))
        for variable, value in reversed(self._bound):
            result = tirx.Let(variable, value, result)
        return tirx.reinterpret(_INTEGER[carrier], result).astype(dtype) if carrier else result

    def horner(self, coefficients: tuple[float, ...], x: Expr) -> Expr:
        """Return the polynomial in x with these coefficients, the lowest power first."""
        dtype = dtype_of(x)
        total: Expr = tirx.const(coefficients[-1], dtype)
        for coefficient in coefficients[-2::-1]:
            total = self.bind(total * x + tirx.const(coefficient, dtype))
        return total


def _unbounded(value: Expr) -> Expr:
    """Return a value of which the analyzer infers no bounds.

    It takes a float ``select`` for an interval between both values, and fails where that is multiplied or divided by a
    variable. It does not look through a cast of bits, which costs no instruction.
    """
    dtype = dtype_of(value)
    if not isinstance(value, tirx.Select) or dtype not in _INTEGER:
        return value
    return tirx.reinterpret(dtype, tirx.reinterpret(_INTEGER[dtype], value))


def number_of(condition: Expr, dtype: str) -> Expr:
    """Return 1 or 0. A cast would do, but the analyzer cannot bind a vector that is cast from booleans."""
    return tirx.Select(condition, tirx.const(1, dtype), tirx.const(0, dtype))


def magnitude_bits(x: Expr) -> Expr:
    """Return the bits of |x| as a signed integer: they order as the magnitudes do, NaN above infinity."""
    dtype = dtype_of(x)
    integer = _INTEGER[dtype]
    return tirx.reinterpret(integer, x) & tirx.const(_SIGN_FREE[dtype], integer)


def infinity_bits(dtype: str) -> Expr:
    """Return the bits of infinity."""
    return tirx.const(_INFINITY[dtype], _INTEGER[dtype])


def is_nan(x: Expr) -> Expr:
    """Return whether x is NaN. On the bits: the simplifier takes ``x != x`` for false."""
    return magnitude_bits(x) > infinity_bits(dtype_of(x))


def absolute(x: Expr) -> Expr:
    """Return |x| of a float by clearing the sign bit."""
    return tirx.reinterpret(dtype_of(x), magnitude_bits(x))


def libm(name: str, *args: Expr) -> Expr:
    """Return a call of a C99 function by its double name; the loop around it runs one element at a time."""
    dtype = dtype_of(args[0])
    return tirx.call_pure_extern(dtype, name if dtype == "float64" else f"{name}f", *args)
