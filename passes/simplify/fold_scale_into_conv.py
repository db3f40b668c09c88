"""Channel scales after and before a convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvm import relax

from ...tvm_names import shape_of
from ..expressions import constant, with_operands
from ..rewrite import RewritePass, register_pass
from ..scope import Scope
from .channel_scale import (
    CONVOLUTIONS,
    TRANSPOSED_CONVOLUTIONS,
    along_axis,
    is_plain_convolution,
    scaled_inputs,
    scaled_weight,
)

if TYPE_CHECKING:
    from tvm.relax import Expr


@register_pass("fold-scale-into-conv")
@dataclass(frozen=True)
class FoldScaleIntoConv(RewritePass):
    """Fold a constant channel scale into the convolution before it.

    multiply(conv2d(x, w), s)  -->  conv2d(x, w * s)

    Needs w and s constant, s one number per output channel (or one for all), and the convolution used once. The
    transposed convolutions and those of one and three dimensions take part.
    """

    roots = ("multiply",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the convolution with scaled weights."""
        product, factor = value.args
        convolution = scope.call(product, *CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS)
        array = scope.constant(factor)
        if convolution is None or array is None or not scope.used_once(product):
            return None
        weight = scope.constant(convolution.args[1])
        if weight is None or shape_of(product) != shape_of(value) or not is_plain_convolution(convolution):
            return None
        scale = along_axis(array, shape_of(value), axis=1)
        scaled = None if scale is None else scaled_weight(weight, scale, convolution)
        return None if scaled is None else with_operands(convolution, [convolution.args[0], constant(scaled)])


@register_pass("fold-input-scale-into-conv")
@dataclass(frozen=True)
class FoldInputScaleIntoConv(RewritePass):
    """Fold a constant channel scale into the convolution after it.

    conv2d(multiply(x, s), w)  -->  conv2d(x, w * s)

    Needs w and s constant, s one number per input channel (or one for all), and the product used once. The zeros of
    the padding stay zeros under any scale.
    """

    roots = CONVOLUTIONS

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the convolution of the unscaled input."""
        data, kernel = value.args
        product = scope.call(data, "multiply")
        weight = scope.constant(kernel)
        if product is None or weight is None or not scope.used_once(data) or not is_plain_convolution(value):
            return None
        array = scope.constant(product.args[1])
        if array is None or shape_of(product.args[0]) != shape_of(data):
            return None
        scale = along_axis(array, shape_of(data), axis=1)
        scaled = None if scale is None else scaled_inputs(weight, scale, value)
        if scaled is None:
            return None
        return relax.Call(value.op, [product.args[0], constant(scaled)], value.attrs)
