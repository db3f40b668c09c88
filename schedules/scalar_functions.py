"""Elementary functions: vectorizable in float32 where we have them, C's libm elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from . import transcendental
from .bindings import Bindings, Expr, is_float, libm
from .scalar_registry import FLOATS, NUMBERS, scalar_op

Attrs = dict[str, Any]
_LIBM_COST = 60


def vector_or_libm(v: Bindings, name: str, x: Expr, dtype: str) -> Expr:
    """Return exp, log, tanh, erf, ... of x: our own construction in float32, libm's function in float64."""
    if dtype == "float32":
        own: Callable[[Bindings, Expr], Expr] = getattr(transcendental, name)
        return v.bind(own(v, x))
    return v.bind(libm(name, x))


def _own(name: str, cost: int) -> None:
    @scalar_op(name, dtypes=FLOATS, cost=cost)
    def build(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
        return vector_or_libm(v, name, args[0], dtype)


def _from_libm(name: str, arity: int = 1) -> None:
    @scalar_op(name, dtypes=FLOATS, cost=_LIBM_COST)
    def build(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
        return libm(name, *args[:arity])


_own("exp", 20)
_own("log", 22)
_own("tanh", 15)
_own("erf", 17)
for _name in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"):
    _from_libm(_name)
_from_libm("atan2", arity=2)


@scalar_op("power", dtypes=NUMBERS, cost=_LIBM_COST)
def power(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """Constant exponents 1, 2, 3 and -1 become products and a reciprocal; integers go through double."""
    base, exponent = args
    if isinstance(exponent, (tirx.FloatImm, tirx.IntImm)):
        known = _POWERS.get(float(exponent.value))
        if known and (is_float(dtype) or float(exponent.value) > 0):
            return known(base, tirx.const(1, dtype))
    if is_float(dtype):
        return libm("pow", base, exponent)
    return libm("pow", base.astype("float64"), exponent.astype("float64")).astype(dtype)


_POWERS: dict[float, Callable[[Expr, Expr], Expr]] = {
    -1.0: lambda x, one: one / x,
    1.0: lambda x, one: x,
    2.0: lambda x, one: x * x,
    3.0: lambda x, one: x * x * x,
}
