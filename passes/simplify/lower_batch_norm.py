"""Batch norm at inference is a scale and a bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from ...tvm_names import shape_of
from ..expressions import TUPLE_GET_ITEM, constant
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Call, Expr


@register_pass("lower-batch-norm")
@dataclass(frozen=True)
class LowerBatchNorm(RewritePass):
    """Multiply and add constants computed in float64; ``fold-scale-into-conv`` and its like take them further.

    nn.batch_norm(x, gamma, beta, mean, var)[0]  -->  add(multiply(x, s), b)
        with s = gamma / sqrt(var + epsilon), b = beta - mean * s

    Needs constant parameters and ``training=False``: with it, the statistics are those of the batch.
    """

    roots = (TUPLE_GET_ITEM,)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the sum."""
        norm = scope.call(value.tuple_value, "nn.batch_norm")
        if norm is None or value.index != 0 or norm.attrs.training:
            return None
        parameters = [scope.constant(arg) for arg in norm.args[1:]]
        arrays = [each for each in parameters if each is not None]
        if len(arrays) != 4:
            return None
        scale, bias = _scale_and_bias(norm, arrays)
        data = norm.args[0]
        rank = len(shape_of(data))
        shape = [1] * rank
        shape[int(norm.attrs.axis) % rank] = scale.size
        product = scope.emit(relax.op.multiply(data, constant(scale.reshape(shape))), scope.name_of(value.tuple_value))
        return relax.op.add(product, constant(bias.reshape(shape)))


def _scale_and_bias(norm: Call, parameters: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    gamma, beta, mean, variance = (each.astype(np.float64) for each in parameters)
    scale = (gamma if norm.attrs.scale else 1.0) / np.sqrt(variance + float(norm.attrs.epsilon))
    bias = (beta if norm.attrs.center else 0.0) - mean * scale
    return scale.astype(parameters[0].dtype), bias.astype(parameters[0].dtype)
