"""Division by a constant is multiplication by its reciprocal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from ...tvm_names import dtype_of
from ..expressions import constant
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr


@register_pass("divide-to-multiply")
@dataclass(frozen=True)
class DivideToMultiply(RewritePass):
    """Multiply by the reciprocal of a constant instead of dividing.

    divide(x, c)  -->  multiply(x, 1 / c)

    In float32 alone: the reciprocal and the product are rounded by half an ulp each, so the result is within two units
    in the last place (24 bits) of the quotient, and exact for powers of two. In float16 that would be one part in a
    thousand, and whoever stores float64 wants its digits. Needs every reciprocal to be a normal number.
    """

    roots = ("divide",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the product."""
        divisor = scope.constant(value.args[1])
        if divisor is None or dtype_of(value) != "float32":
            return None
        with np.errstate(all="ignore"):
            reciprocal = np.float32(1) / divisor
        magnitude = np.abs(reciprocal)
        if not np.all((magnitude >= np.finfo(np.float32).tiny) & np.isfinite(magnitude)):
            return None
        return relax.op.multiply(value.args[0], constant(reciprocal.reshape(divisor.shape)))
