"""What classifiers and regressors of ai.onnx.ml do with their scores [N, K]."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from ....errors import UserError
from ....registry import nearest
from .node import Node

if TYPE_CHECKING:
    from tvm.relax import Expr


def post_transform(node: Node, scores: Expr, name: str) -> Expr:
    """Return the scores after a post transform. Raises UserError for one that does not exist."""
    if name not in _TRANSFORMS:
        raise UserError(f"its post_transform '{name}' does not exist{nearest(name, list(_TRANSFORMS))}")
    return _TRANSFORMS[name](node, scores)


def _none(node: Node, scores: Expr) -> Expr:
    return scores


def _logistic(node: Node, scores: Expr) -> Expr:
    return node.emit(relax.op.sigmoid(scores))


def _softmax(node: Node, scores: Expr) -> Expr:
    return node.emit(relax.op.nn.softmax(scores, axis=1))


def _softmax_zero(node: Node, scores: Expr) -> Expr:
    """Softmax over the scores that are not about zero; those stay it, but for the common factor."""
    greatest = node.emit(relax.op.max(scores, axis=1, keepdims=True))
    powers = node.emit(relax.op.exp(node.emit(relax.op.subtract(scores, greatest))))
    lone = node.emit(relax.op.multiply(scores, node.emit(relax.op.exp(node.emit(relax.op.negative(greatest))))))
    large = node.emit(relax.op.greater(node.emit(relax.op.abs(scores)), node.const(1e-7, scores)))
    parts = node.emit(relax.op.where(large, powers, lone))
    total = node.emit(relax.op.sum(parts, axis=1, keepdims=True))
    empty = node.emit(relax.op.equal(total, node.const(0.0, scores)))
    divided = node.emit(relax.op.divide(parts, node.emit(relax.op.where(empty, node.const(1.0, scores), total))))
    return node.emit(relax.op.where(empty, node.const(0.5, scores), divided))


def _probit(node: Node, scores: Expr) -> Expr:
    """The inverse of the normal distribution by Winitzki's approximation of the inverse error function."""
    x = node.emit(
        relax.op.subtract(node.emit(relax.op.multiply(scores, node.const(2.0, scores))), node.const(1.0, scores))
    )
    square = node.emit(relax.op.multiply(x, x))
    log = node.emit(relax.op.log(node.emit(relax.op.subtract(node.const(1.0, scores), square))))
    half = node.emit(relax.op.multiply(log, node.const(0.5, scores)))
    v = node.emit(relax.op.add(half, node.const(2.0 / (np.pi * 0.147), scores)))
    inner = node.emit(
        relax.op.subtract(
            node.emit(relax.op.multiply(v, v)), node.emit(relax.op.multiply(log, node.const(1 / 0.147, scores)))
        )
    )
    root = node.emit(relax.op.sqrt(node.emit(relax.op.subtract(node.emit(relax.op.sqrt(inner)), v))))
    signed = node.emit(relax.op.multiply(node.emit(relax.op.sign(x)), root))
    return node.emit(relax.op.multiply(signed, node.const(1.41421356, scores)))


_TRANSFORMS = {
    "NONE": _none,
    "LOGISTIC": _logistic,
    "SOFTMAX": _softmax,
    "SOFTMAX_ZERO": _softmax_zero,
    "PROBIT": _probit,
}
