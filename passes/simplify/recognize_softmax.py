"""Softmax written out in exponentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvm import relax

from ...tvm_names import dtype_of
from ..expressions import axes_of
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Call, Expr


@register_pass("recognize-softmax")
@dataclass(frozen=True)
class RecognizeSoftmax(RewritePass):
    """Write softmax over one axis as one operator.

    e = exp(subtract(x, max(x))); divide(e, sum(e))  -->  nn.softmax(x)
    e = exp(x); divide(e, sum(e))  -->  nn.softmax(x)

    Without the subtraction the results are equal wherever the exponentials do not overflow. Halves are left alone:
    whoever writes the steps out in them wants each rounded.
    """

    roots = ("divide",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the operator."""
        numerator, denominator = value.args
        exponential = scope.call(numerator, "exp")
        total = scope.call(denominator, "sum")
        if exponential is None or total is None or not total.args[0].same_as(numerator):
            return None
        if dtype_of(value) not in ("float32", "float64"):
            return None
        axes = axes_of(total)
        if len(axes) != 1 or not total.attrs.keepdims:
            return None
        x = exponential.args[0]
        shifted = scope.call(x, "subtract")
        if shifted is not None and _is_maximum(shifted, axes, scope):
            x = shifted.args[0]
        return relax.op.nn.softmax(x, axes[0])


def _is_maximum(shifted: Call, axes: tuple[int, ...], scope: Scope) -> bool:
    """Return whether what is subtracted is the maximum of what it is subtracted from."""
    maximum = scope.call(shifted.args[1], "max")
    if maximum is None or not maximum.args[0].same_as(shifted.args[0]):
        return False
    return axes_of(maximum) == axes and bool(maximum.attrs.keepdims)
