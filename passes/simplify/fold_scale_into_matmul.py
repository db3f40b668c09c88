"""Scales after a matrix product with a constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...tvm_names import dtype_of, shape_of
from ..expressions import constant, is_float, with_operands
from ..rewrite import RewritePass, register_pass
from ..scope import Scope
from .channel_scale import along_axis

if TYPE_CHECKING:
    from tvm.relax import Expr


@register_pass("fold-scale-into-matmul")
@dataclass(frozen=True)
class FoldScaleIntoMatmul(RewritePass):
    """Fold a constant scale of the columns into the weights of the matrix product before it.

    multiply(matmul(x, w), s)  -->  matmul(x, w * s)

    Needs w [..., K, N] and s constant, s one number per column (or one for all), and the product used once.
    """

    roots = ("multiply",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the product with scaled weights."""
        product, factor = value.args
        matmul = scope.call(product, "matmul")
        array = scope.constant(factor)
        if matmul is None or array is None or not scope.used_once(product) or not is_float(value):
            return None
        weight = scope.constant(matmul.args[1])
        if weight is None or weight.ndim < 2 or shape_of(product) != shape_of(value):
            return None
        scale = along_axis(array, shape_of(value), axis=len(shape_of(value)) - 1)
        if scale is None or dtype_of(matmul.args[1]) != dtype_of(value):
            return None
        scaled = (weight.astype(np.float64) * scale).astype(weight.dtype)
        return with_operands(matmul, [matmul.args[0], constant(scaled)])
