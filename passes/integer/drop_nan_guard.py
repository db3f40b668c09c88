"""What a grid holds is a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rewrite import RewritePass, register_pass
from .grid import dequantized_operand

if TYPE_CHECKING:
    from tvm.relax import Expr

    from ..scope import Scope


@register_pass("drop-nan-guard")
@dataclass(frozen=True)
class DropNanGuard(RewritePass):
    """A tensor from a grid needs no guard against NaN.

    where(isnan(d), c, d), d = dequantize(q)  -->  d
    """

    roots = ("where",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the tensor."""
        condition, _, data = value.args
        test = scope.call(condition, "isnan")
        if test is None or not test.args[0].same_as(data) or dequantized_operand(data, scope) is None:
            return None
        return data if data.ty.shape == value.ty.shape else None
