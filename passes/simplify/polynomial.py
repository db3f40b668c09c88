"""Scalar algebra on Relax expressions: products taken apart, polynomials collected.

Exporters write one activation in many ways (a factor here or there, a division for a product); the algebra is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr

#: Coefficients by degree.
Polynomial = dict[int, float]

_DEPTH = 8
_HIGHEST_DEGREE = 4
#: Models round their constants: 1.4142 for the root of two is 1e-5 off.
_RELATIVE_ERROR = 1e-5


def close(value: float, expected: float) -> bool:
    """Return whether a model's constant stands for the expected number."""
    return abs(value - expected) <= _RELATIVE_ERROR * abs(expected)


def equals(found: Polynomial | None, expected: Polynomial) -> bool:
    """Return whether a polynomial is the expected one, up to how models round constants."""
    if found is None:
        return False
    found = {degree: value for degree, value in found.items() if value}
    return found.keys() == expected.keys() and all(close(found[degree], expected[degree]) for degree in found)


def polynomial(expr: Expr, variable: Expr, scope: Scope, depth: int = _DEPTH) -> Polynomial | None:
    """Return an expression as a polynomial of a variable, None where it is none of a low degree."""
    if expr.same_as(variable):
        return {1: 1.0}
    number = scope.scalar(expr)
    if number is not None:
        return {0: number}
    call = scope.call(expr, "add", "subtract", "multiply", "divide", "power", "negative")
    if call is None or depth == 0:
        return None
    left = polynomial(call.args[0], variable, scope, depth - 1)
    if str(call.op.name) == "relax.negative":
        return None if left is None else _sum({}, left, -1.0)
    right = polynomial(call.args[1], variable, scope, depth - 1)
    if left is None or right is None:
        return None
    return _combined(str(call.op.name).removeprefix("relax."), left, right)


def _combined(operator: str, left: Polynomial, right: Polynomial) -> Polynomial | None:
    constant = right.get(0, 0.0) if not any(right.keys() - {0}) else None
    if operator == "add":
        return _sum(left, right)
    if operator == "subtract":
        return _sum(left, right, -1.0)
    if operator == "divide":
        return {degree: value / constant for degree, value in left.items()} if constant else None
    if operator == "power":
        if constant not in (1.0, 2.0, 3.0):
            return None
        result = left
        for _ in range(int(constant) - 1):
            result = _product(result, left)
    else:
        result = _product(left, right)
    return result if max(result) <= _HIGHEST_DEGREE else None


def _sum(left: Polynomial, right: Polynomial, scale: float = 1.0) -> Polynomial:
    return {degree: left.get(degree, 0.0) + scale * right.get(degree, 0.0) for degree in left.keys() | right.keys()}


def _product(left: Polynomial, right: Polynomial) -> Polynomial:
    result: Polynomial = {}
    for first, a in left.items():
        for second, b in right.items():
            result[first + second] = result.get(first + second, 0.0) + a * b
    return result


def factors(expr: Expr, stops: tuple[Expr, ...], scope: Scope, depth: int = _DEPTH) -> tuple[float, list[Expr]]:
    """Take a product apart: return its constant factor and the others, not looking into ``stops``."""
    number = scope.scalar(expr)
    if number is not None:
        return number, []
    call = None if any(expr.same_as(stop) for stop in stops) else scope.call(expr, "multiply", "divide")
    if call is None or depth == 0:
        return 1.0, [expr]
    if str(call.op.name) == "relax.divide":
        divisor = scope.scalar(call.args[1])
        if not divisor:
            return 1.0, [expr]
        scale, rest = factors(call.args[0], stops, scope, depth - 1)
        return scale / divisor, rest
    first, left = factors(call.args[0], stops, scope, depth - 1)
    second, right = factors(call.args[1], stops, scope, depth - 1)
    return first * second, left + right
