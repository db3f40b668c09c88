"""Scales move in front of biases, to where weights can take them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from ...tvm_names import is_constant, shape_of
from ..expressions import constant, is_float
from ..rewrite import RewritePass, register_pass
from ..scope import Scope
from .channel_scale import CONVOLUTIONS, TRANSPOSED_CONVOLUTIONS

if TYPE_CHECKING:
    from tvm.relax import Expr


@register_pass("move-scale-before-bias")
@dataclass(frozen=True)
class MoveScaleBeforeBias(RewritePass):
    """Scale first and add the scaled bias.

    multiply(add(y, b), s)  -->  add(multiply(y, s), b * s)

    Needs b and s constant, both values used once, and y to be what takes the scale up: a convolution or matrix product
    with constant weights, or a product with a constant.
    """

    roots = ("multiply",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the sum."""
        total = scope.call(value.args[0], "add")
        scale = scope.constant(value.args[1])
        if total is None or scale is None or not scope.used_once(value.args[0]) or not is_float(value):
            return None
        term, bias = total.args[0], scope.constant(total.args[1])
        taker = scope.call(term, *CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS, "matmul", "multiply")
        if bias is None or taker is None or not scope.used_once(term) or not is_constant(taker.args[1]):
            return None
        scaled = (bias.astype(np.float64) * scale).astype(bias.dtype)
        if scaled.size > max(bias.size, scale.size) or shape_of(term) != shape_of(value):
            return None
        product = scope.emit(relax.op.multiply(term, value.args[1]), scope.name_of(term))
        return relax.op.add(product, constant(scaled))
