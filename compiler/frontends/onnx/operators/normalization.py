"""Normalizations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....errors import UserError
from .....tvm_names import dtype_of, shape_of
from ..node import Node, constant, positive_axis, rank_of
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("BatchNormalization")
def batch_normalization(
    node: Node, data: Expr, scale: Expr, bias: Expr, mean: Expr, variance: Expr
) -> Expr | tuple[Expr, ...]:
    """Inference with the running statistics, or with ``training_mode`` (opset 14) the batch's own.

    Statistics for each element (``spatial=0``, opset 7) become plain arithmetic.
    """
    epsilon = node.get_float("epsilon", 1e-5)
    if node.get_int("training_mode", 0):
        return _batch_statistics(node, data, scale, bias, mean, variance)
    if any(node.wants(output) for output in range(1, 5)):
        raise UserError("BatchNormalization of a training graph is not supported: export the model for inference")
    if node.get_int("spatial", 1) == 0:
        return _normalized(node, data, mean, variance, scale, bias)
    result = node.emit(
        relax.op.nn.batch_norm(data, scale, bias, mean, variance, axis=1, epsilon=epsilon, training=False)
    )
    return node.emit(relax.TupleGetItem(result, 0))


def _batch_statistics(
    node: Node, data: Expr, scale: Expr, bias: Expr, mean: Expr, variance: Expr
) -> tuple[Expr, Expr, Expr]:
    """Return data normalized over the batch, and the running statistics moved towards the batch's by ``momentum``."""
    rank, keep = rank_of(data), node.get_float("momentum", 0.9)
    axes = [axis for axis in range(rank) if axis != 1]
    shape = (shape_of(data)[1],) + (1,) * (rank - 2)
    found = [node.emit(relax.op.mean(data, axes)), node.emit(relax.op.variance(data, axes))]
    scale, bias = node.reshape(scale, shape), node.reshape(bias, shape)
    mean_here, variance_here = (node.reshape(each, shape) for each in found)
    out = _normalized(node, data, mean_here, variance_here, scale, bias)
    running = [
        relax.op.add(
            node.emit(relax.op.multiply(old, node.const(keep, old))),
            node.cast(node.emit(relax.op.multiply(new, node.const(1 - keep, new))), dtype_of(old)),
        )
        for old, new in zip((mean, variance), found, strict=True)
    ]
    return out, running[0], running[1]


def _normalized(node: Node, data: Expr, mean: Expr, variance: Expr, scale: Expr, bias: Expr) -> Expr:
    root = node.emit(
        relax.op.sqrt(node.emit(relax.op.add(variance, node.const(node.get_float("epsilon", 1e-5), variance))))
    )
    centred = node.emit(relax.op.subtract(data, node.cast(mean, dtype_of(data))))
    factor = node.emit(relax.op.divide(node.cast(scale, dtype_of(variance)), root))
    scaled = node.emit(relax.op.multiply(centred, node.cast(factor, dtype_of(data))))
    return node.emit(relax.op.add(scaled, node.cast(bias, dtype_of(data))))


@operator("LayerNormalization")
def layer_normalization(node: Node, data: Expr, scale: Expr, bias: Expr | None = None) -> Expr | tuple[Expr, ...]:
    """Normalize over the axes from ``axis`` on; further outputs are the mean and the inverse standard deviation."""
    shape = shape_of(data)
    axis = positive_axis(node.get_int("axis", -1), len(shape))
    axes = list(range(axis, len(shape)))
    tail = shape[axis:]
    scale = _filled(node, scale, tail)
    zero = constant(np.zeros(tail, np.dtype(str(scale.ty.dtype))))
    bias = zero if bias is None else _filled(node, bias, tail)
    epsilon = node.get_float("epsilon", 1e-5)
    out = node.emit(relax.op.nn.layer_norm(data, scale, bias, axes=axes, epsilon=epsilon))
    if not (node.wants(1) or node.wants(2)):
        return out
    wide = node.cast(data, "float32")
    mean = node.emit(relax.op.mean(wide, axes, keepdims=True))
    centred = node.emit(relax.op.subtract(wide, mean))
    variance = node.emit(relax.op.mean(node.emit(relax.op.multiply(centred, centred)), axes, keepdims=True))
    root = node.emit(relax.op.sqrt(node.emit(relax.op.add(variance, node.const(epsilon, variance)))))
    return out, mean, node.emit(relax.op.divide(node.const(1.0, root), root))


@operator("InstanceNormalization")
def instance_normalization(node: Node, data: Expr, scale: Expr, bias: Expr) -> Expr:
    """Normalize each channel of each example over its spatial axes."""
    axes = list(range(2, rank_of(data)))
    return relax.op.nn.instance_norm(data, scale, bias, 1, axes, node.get_float("epsilon", 1e-5))


@operator("GroupNormalization", since=21)
def group_normalization(node: Node, data: Expr, scale: Expr, bias: Expr) -> Expr:
    """Normalize groups of channels; scale and bias are per channel since opset 21 (18 is deprecated)."""
    axes = list(range(2, rank_of(data)))
    groups = node.get_int("num_groups", 1)
    return relax.op.nn.group_norm(data, scale, bias, groups, 1, axes, node.get_float("epsilon", 1e-5))


@operator("LRN")
def lrn(node: Node, data: Expr) -> Expr:
    """Divide by ``(bias + alpha / size * sum of squares of neighbouring channels) ** beta``."""
    size = node.get_int("size", 1)
    shape = shape_of(data)
    square = node.reshape(node.emit(relax.op.multiply(data, data)), (shape[0], 1, shape[1], math.prod(shape[2:])))
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    padding = (before, 0, after, 0)
    mean = node.emit(relax.op.nn.avg_pool2d(square, (size, 1), (1, 1), padding, count_include_pad=True))
    scaled = node.emit(relax.op.multiply(mean, node.const(node.get_float("alpha", 1e-4), data)))
    base = node.emit(relax.op.add(scaled, node.const(node.get_float("bias", 1.0), data)))
    power = node.emit(relax.op.power(base, node.const(node.get_float("beta", 0.75), data)))
    return relax.op.divide(data, node.reshape(power, shape))


@operator("LpNormalization")
def lp_normalization(node: Node, data: Expr) -> Expr:
    """Divide by the 1- or 2-norm along an axis; where that is zero the result is zero."""
    axis = positive_axis(node.get_int("axis", -1), rank_of(data))
    if node.get_int("p", 2) == 1:
        norm = node.emit(relax.op.sum(node.emit(relax.op.abs(data)), axis, keepdims=True))
    else:
        square = node.emit(relax.op.multiply(data, data))
        norm = node.emit(relax.op.sqrt(node.emit(relax.op.sum(square, axis, keepdims=True))))
    empty = node.emit(relax.op.equal(norm, node.const(0, norm)))
    divisor = node.emit(relax.op.where(empty, node.const(1, norm), norm))
    return relax.op.divide(data, divisor)


def _filled(node: Node, vector: Expr, shape: tuple[int, ...]) -> Expr:
    return vector if shape_of(vector) == shape else node.emit(relax.op.broadcast_to(vector, shape))
