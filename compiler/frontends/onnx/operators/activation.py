"""Activations: functions of one element, and softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from tvm import relax

from .....tvm_names import dtype_of, shape_of
from ..attention import softmax as stepwise_softmax
from ..node import Node, positive_axis, rank_of
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("Relu")
def relu(node: Node, data: Expr) -> Expr:
    """``max(x, 0)``."""
    return relax.op.nn.relu(data)


@operator("LeakyRelu")
def leaky_relu(node: Node, data: Expr) -> Expr:
    """``x`` where it is positive, else ``alpha * x``."""
    return relax.op.nn.leakyrelu(data, node.get_float("alpha", 0.01))


@operator("PRelu")
def prelu(node: Node, data: Expr, slope: Expr) -> Expr:
    """``x`` where it is positive, else ``slope * x``; before opset 7 a vector of slopes goes with the channels."""
    if node.opset < 7 and rank_of(slope) == 1 and rank_of(data) > 2:
        slope = node.reshape(slope, shape_of(slope) + (1,) * (rank_of(data) - 2))
    scaled = node.emit(relax.op.multiply(data, slope))
    below = node.emit(relax.op.less(data, node.const(0, data)))
    return relax.op.where(below, scaled, data)


@operator("Sigmoid")
def sigmoid(node: Node, data: Expr) -> Expr:
    """``1 / (1 + exp(-x))``."""
    return relax.op.sigmoid(data)


@operator("Tanh")
def tanh(node: Node, data: Expr) -> Expr:
    """The hyperbolic tangent."""
    return relax.op.tanh(data)


@operator("Elu")
def elu(node: Node, data: Expr) -> Expr:
    """``x`` where it is positive, else ``alpha * (exp(x) - 1)``."""
    return _exponential_below(node, data, node.get_float("alpha", 1.0), 1.0)


@operator("Selu")
def selu(node: Node, data: Expr) -> Expr:
    """Elu times ``gamma``."""
    alpha = node.get_float("alpha", 1.6732632423543772)
    gamma = node.get_float("gamma", 1.0507009873554805)
    return relax.op.multiply(_exponential_below(node, data, alpha, 1.0), node.const(gamma, data))


@operator("Celu")
def celu(node: Node, data: Expr) -> Expr:
    """``x`` where it is positive, else ``alpha * (exp(x / alpha) - 1)``."""
    alpha = node.get_float("alpha", 1.0)
    return _exponential_below(node, data, alpha, alpha)


@operator("Softplus")
def softplus(node: Node, data: Expr) -> Expr:
    """``log(1 + exp(x))``, as ``max(x, 0) + log(1 + exp(-|x|))``, which never overflows.

    Where ``exp`` is small, ``log(1 + e)`` keeps its digits as ``e * log(s) / (s - 1)`` with ``s`` the rounded sum
    (Kahan; see Higham, Accuracy and Stability of Numerical Algorithms, 1.14.1).
    """
    decay = node.emit(relax.op.exp(node.emit(relax.op.negative(node.emit(relax.op.abs(data))))))
    total = node.emit(relax.op.add(decay, node.const(1, data)))
    above = node.emit(relax.op.subtract(total, node.const(1, data)))
    lost = node.emit(relax.op.equal(above, node.const(0, data)))
    divisor = node.emit(relax.op.where(lost, node.const(1, data), above))
    ratio = node.emit(relax.op.divide(node.emit(relax.op.log(total)), divisor))
    rest = node.emit(relax.op.where(lost, decay, node.emit(relax.op.multiply(decay, ratio))))
    return relax.op.add(node.emit(relax.op.nn.relu(data)), rest)


@operator("Mish")
def mish(node: Node, data: Expr) -> Expr:
    """``x * tanh(softplus(x))``, which is ``x * n / (n + 2)`` with ``n = e * (e + 2)`` and ``e = exp(x)``."""
    # From 20 on the quotient is one; kept below, its exponential does not overflow.
    grown = node.emit(relax.op.exp(node.emit(relax.op.minimum(data, node.const(20, data)))))
    wide = node.emit(relax.op.multiply(grown, node.emit(relax.op.add(grown, node.const(2, data)))))
    ratio = node.emit(relax.op.divide(wide, node.emit(relax.op.add(wide, node.const(2, data)))))
    return relax.op.multiply(data, ratio)


@operator("Softsign")
def softsign(node: Node, data: Expr) -> Expr:
    """``x / (1 + |x|)``."""
    return relax.op.divide(data, node.emit(relax.op.add(node.emit(relax.op.abs(data)), node.const(1, data))))


@operator("HardSigmoid")
def hard_sigmoid(node: Node, data: Expr) -> Expr:
    """``alpha * x + beta`` kept between 0 and 1."""
    return _hard_sigmoid(node, data, node.get_float("alpha", 0.2), node.get_float("beta", 0.5))


@operator("HardSwish")
def hard_swish(node: Node, data: Expr) -> Expr:
    """``x * hard_sigmoid(x)`` with slope 1/6."""
    return relax.op.multiply(data, _hard_sigmoid(node, data, 1.0 / 6.0, 0.5))


@operator("ThresholdedRelu")
def thresholded_relu(node: Node, data: Expr) -> Expr:
    """``x`` where it is above ``alpha``, else 0."""
    above = node.emit(relax.op.greater(data, node.const(node.get_float("alpha", 1.0), data)))
    return relax.op.where(above, data, node.const(0, data))


@operator("Swish")
def swish(node: Node, data: Expr) -> Expr:
    """``x * sigmoid(alpha * x)``."""
    alpha = node.get_float("alpha", 1.0)
    if alpha == 1.0:
        return relax.op.nn.silu(data)
    inner = node.emit(relax.op.multiply(data, node.const(alpha, data)))
    return relax.op.multiply(data, node.emit(relax.op.sigmoid(inner)))


@operator("Gelu")
def gelu(node: Node, data: Expr) -> Expr:
    """``x * Phi(x)`` with Phi the normal distribution, or its tanh approximation as ``approximate`` says."""
    return (relax.op.nn.gelu_tanh if node.get_string("approximate", "none") == "tanh" else relax.op.nn.gelu)(data)


@operator("Softmax")
def flat_softmax(node: Node, data: Expr) -> Expr:
    """Softmax over all axes from ``axis`` on, taken as one (before opset 13)."""
    return _flat(node, data, relax.op.nn.softmax)


@operator("Softmax", since=13)
def softmax(node: Node, data: Expr) -> Expr:
    """Softmax along one axis."""
    return stepwise_softmax(node, data, positive_axis(node.get_int("axis", -1), rank_of(data)))


@operator("LogSoftmax")
def flat_log_softmax(node: Node, data: Expr) -> Expr:
    """Logarithm of softmax over all axes from ``axis`` on, taken as one (before opset 13)."""
    return _flat(node, data, relax.op.nn.log_softmax)


@operator("LogSoftmax", since=13)
def log_softmax(node: Node, data: Expr) -> Expr:
    """Logarithm of softmax along one axis."""
    return relax.op.nn.log_softmax(data, positive_axis(node.get_int("axis", -1), rank_of(data)))


@operator("Hardmax", since=13)
def hardmax(node: Node, data: Expr) -> Expr:
    """One at the first maximum along an axis, zero elsewhere."""
    axis = positive_axis(node.get_int("axis", -1), rank_of(data))
    found = node.emit(relax.op.argmax(data, axis, keepdims=True))
    count = shape_of(data)[axis]
    places = node.reshape(
        node.emit(relax.op.arange(0, count, 1, dtype_of(found))), (count,) + (1,) * (rank_of(data) - 1 - axis)
    )
    return node.cast(node.emit(relax.op.equal(found, places)), dtype_of(data))


def _flat(node: Node, data: Expr, make: Callable[..., Expr]) -> Expr:
    shape = shape_of(data)
    axis = positive_axis(node.get_int("axis", 1), len(shape))
    if axis == len(shape) - 1:
        return make(data, axis)
    flat = node.reshape(data, (math.prod(shape[:axis]), math.prod(shape[axis:])))
    return node.reshape(node.emit(make(flat, 1)), shape)


def _hard_sigmoid(node: Node, data: Expr, slope: float, offset: float) -> Expr:
    line = node.emit(
        relax.op.add(node.emit(relax.op.multiply(data, node.const(slope, data))), node.const(offset, data))
    )
    return node.emit(relax.op.clip(line, 0.0, 1.0))


def _exponential_below(node: Node, data: Expr, factor: float, scale: float) -> Expr:
    dtype = dtype_of(data)
    if dtype in ("float16", "bfloat16"):
        # Close to zero exp(x) - 1 would have no digits left.
        return node.cast(_exponential_below(node, node.cast(data, "float32"), factor, scale), dtype)
    # The argument is kept below zero so that the branch not taken does not overflow.
    negative = node.emit(relax.op.minimum(data, node.const(0, data)))
    if scale != 1.0:
        negative = node.emit(relax.op.divide(negative, node.const(scale, data)))
    grown = node.emit(relax.op.subtract(node.emit(relax.op.exp(negative)), node.const(1, data)))
    below = node.emit(relax.op.multiply(grown, node.const(factor, data)))
    return node.emit(relax.op.add(node.emit(relax.op.nn.relu(data)), below))
