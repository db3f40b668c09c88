"""Subtraction of a constant is addition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvm import relax

from ..expressions import constant, is_float
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr


@register_pass("subtract-to-add")
@dataclass(frozen=True)
class SubtractToAdd(RewritePass):
    """Add the negated constant, which is exact, so that biases have one form only.

    subtract(x, c)  -->  add(x, -c)

    In floating point alone: unsigned integers have no negatives.
    """

    roots = ("subtract",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the sum."""
        subtrahend = scope.constant(value.args[1])
        if subtrahend is None or not is_float(value):
            return None
        return relax.op.add(value.args[0], constant(-subtrahend))
