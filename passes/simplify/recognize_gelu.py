"""GELU, in its exact and its tanh form, however its constants are written."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvm import relax

from ..expressions import is_float, operands_of
from ..rewrite import RewritePass, register_pass
from ..scope import Scope
from .polynomial import Polynomial, close, equals, factors, polynomial

if TYPE_CHECKING:
    from tvm.relax import Call, Expr

#: For each function inside the gate: what it is applied to, and the operator that the whole is.
_FORMS: dict[str, tuple[Polynomial, Callable[[Expr], Expr]]] = {
    "erf": ({1: math.sqrt(0.5)}, relax.op.nn.gelu),
    "tanh": ({1: math.sqrt(2 / math.pi), 3: math.sqrt(2 / math.pi) * 0.044715}, relax.op.nn.gelu_tanh),
}


@register_pass("recognize-gelu")
@dataclass(frozen=True)
class RecognizeGelu(RewritePass):
    """Write GELU as one operator.

    multiply(multiply(x, 0.5), add(erf(multiply(x, sqrt(1/2))), 1))  -->  nn.gelu(x)
    multiply(multiply(x, 0.5), add(tanh(sqrt(2/pi) * (x + 0.044715 * x^3)), 1))  -->  nn.gelu_tanh(x)
    multiply(multiply(x, 0.5), subtract(1, erf(multiply(negative(x), sqrt(1/2)))))  -->  nn.gelu(x)

    The factors may stand in any order and any nesting; the argument is compared as a polynomial of x. Both functions
    are odd, so that 1 - f(u) is 1 + f(-u).
    Source: Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.
    """

    roots = ("multiply", "divide")

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the operator."""
        if not is_float(value):
            return None
        nodes = _product_nodes(value, scope)
        for gate in nodes:
            found = _gate_function(gate, scope)
            if found is None:
                continue
            function, sign = found
            expected, operator = _FORMS[str(function.op.name).removeprefix("relax.")]
            expected = {degree: sign * factor for degree, factor in expected.items()}
            for x in nodes:
                if not x.same_as(gate) and _is_gelu(value, x, gate, function, expected, scope):
                    return operator(x)
        return None


def _is_gelu(value: Call, x: Expr, gate: Expr, function: Call, expected: Polynomial, scope: Scope) -> bool:
    """Return whether value = 0.5 * x * gate and the gate's function is applied to the expected polynomial of x."""
    if not equals(polynomial(function.args[0], x, scope), expected):
        return False
    scale = 1.0
    others: list[Expr] = []
    for operand in operands_of(value):
        factor, rest = factors(operand, (x, gate), scope)
        divides = str(value.op.name) == "relax.divide" and operand.same_as(value.args[1])
        if divides and (rest or not factor):
            return False
        scale, others = (scale / factor if divides else scale * factor), others + rest
    there = {expr for expr in others if expr.same_as(x) or expr.same_as(gate)}
    return close(scale, 0.5) and len(others) == 2 and len(there) == 2


def _product_nodes(value: Call, scope: Scope, depth: int = 4) -> list[Expr]:
    """Return the operands of a product, and those of the products among them."""
    nodes: list[Expr] = []
    for operand in operands_of(value):
        if scope.scalar(operand) is None:
            nodes.append(operand)
            inner = scope.call(operand, "multiply", "divide")
            nodes += _product_nodes(inner, scope, depth - 1) if inner is not None and depth else []
    return nodes


def _gate_function(expr: Expr, scope: Scope) -> tuple[Call, float] | None:
    """Return f(u) and the sign it has in 1 + f(u) or 1 - f(u)."""
    gate = scope.call(expr, "add", "subtract")
    if gate is None:
        return None
    minus = str(gate.op.name) == "relax.subtract"
    one, term = gate.args if minus else reversed(gate.args)
    scale, rest = factors(term, (), scope)
    function = scope.call(rest[0], *_FORMS) if len(rest) == 1 and abs(scale) == 1.0 else None
    if function is None or scope.scalar(one) != 1.0:
        return None
    return function, -scale if minus else scale
