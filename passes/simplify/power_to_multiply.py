"""Small powers without the power function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvm import relax

from ...tvm_names import shape_of
from ..expressions import is_float
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr

_POWERS: dict[float, Callable[[Expr], Expr]] = {
    2.0: lambda x: relax.op.multiply(x, x),
    3.0: lambda x: relax.op.multiply(relax.op.multiply(x, x), x),
    0.5: relax.op.sqrt,
}


@register_pass("power-to-multiply")
@dataclass(frozen=True)
class PowerToMultiply(RewritePass):
    """Write squares, cubes and square roots as such.

    power(x, 2)  -->  multiply(x, x);  power(x, 0.5)  -->  sqrt(x);  square(x)  -->  multiply(x, x)

    The square and the root are exact, the cube is within one unit in the last place. They differ from the power
    function at infinities below zero only, where the root is not a number.
    """

    roots = ("power", "square")

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the products."""
        base = value.args[0]
        exponent = 2.0 if len(value.args) == 1 else scope.scalar(value.args[1])
        written = _POWERS.get(exponent) if exponent is not None and is_float(value) else None
        return written(base) if written and shape_of(base) == shape_of(value) else None
