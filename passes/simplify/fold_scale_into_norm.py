"""Scales and biases after a normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...tvm_names import shape_of
from ..expressions import constant, operator_name, with_operands
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr


@register_pass("fold-scale-into-norm")
@dataclass(frozen=True)
class FoldScaleIntoNorm(RewritePass):
    """Fold a constant scale or bias over the normalised axes into the normalisation before it.

    multiply(nn.layer_norm(x, g, b), s)  -->  nn.layer_norm(x, g * s, b * s), and nn.rms_norm likewise
    add(nn.layer_norm(x, g, b), c)  -->  nn.layer_norm(x, g, b + c)

    Needs g and b constant and the normalisation used once.
    """

    roots = ("multiply", "add")

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the normalisation."""
        norm = scope.call(value.args[0], "nn.layer_norm", "nn.rms_norm")
        array = scope.constant(value.args[1])
        if norm is None or array is None or not scope.used_once(value.args[0]):
            return None
        normalised = shape_of(norm.args[1])
        parameters = [each for arg in norm.args[1:] if (each := scope.constant(arg)) is not None]
        if len(parameters) != len(norm.args) - 1 or shape_of(norm) != shape_of(value):
            return None
        leading = max(array.ndim - len(normalised), 0)
        if any(dim != 1 for dim in array.shape[:leading]):
            return None
        term = np.broadcast_to(array.reshape(array.shape[leading:]), normalised)
        if operator_name(value) == "multiply":
            folded = [parameter * term for parameter in parameters]
        elif operator_name(norm) == "nn.layer_norm":
            folded = [parameters[0], parameters[1] + term]
        else:
            return None
        return with_operands(norm, [norm.args[0], *(constant(each) for each in folded)])
