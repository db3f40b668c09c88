"""Linear models of ai.onnx.ml."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....errors import UserError
from .....tvm_names import shape_of
from ..classes import class_labels, label_of
from ..node import Node
from ..post_transform import post_transform
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr

_DOMAIN = "ai.onnx.ml"


@operator("LinearRegressor", domain=_DOMAIN)
def linear_regressor(node: Node, x: Expr) -> Expr:
    """``x @ coefficients + intercepts``."""
    scores = _linear(node, x, node.get_int("targets", 1))
    return post_transform(node, scores, node.get_string("post_transform", "NONE"))


@operator("LinearClassifier", domain=_DOMAIN)
def linear_classifier(node: Node, x: Expr) -> list[Expr]:
    """Scores of classes; two classes of one score have it and its negative."""
    features = shape_of(x)[1]
    count = len(node.get_floats("coefficients", ())) // features
    labels = class_labels(node, "classlabels_ints", count)
    scores = _linear(node, x, count)
    if count == 1 and len(labels) == 2:
        scores = node.emit(relax.op.concat([node.emit(relax.op.negative(scores)), scores], axis=1))
    elif count != len(labels) or count < 2:
        raise UserError(f"it has {count} rows of coefficients for {len(labels)} classes")
    # No post transform changes the order of scores, but sums that round to the same.
    return [label_of(node, scores, labels), post_transform(node, scores, node.get_string("post_transform", "NONE"))]


def _linear(node: Node, x: Expr, outputs: int) -> Expr:
    x = node.cast(x, "float32")
    weights = np.array(node.get_floats("coefficients", ()), np.float32)
    if len(shape_of(x)) != 2 or outputs < 1 or weights.size != outputs * shape_of(x)[1]:
        raise UserError(f"its {weights.size} coefficients do not fit an input of shape {list(shape_of(x))}")
    out = node.emit(relax.op.matmul(x, node.const(np.ascontiguousarray(weights.reshape(outputs, -1).T), x)))
    intercepts = np.array(node.get_floats("intercepts", ()), np.float32)
    if intercepts.size not in (0, outputs):
        raise UserError(f"it has {intercepts.size} intercepts for {outputs} outputs")
    return node.emit(relax.op.add(out, node.const(intercepts, x))) if intercepts.any() else out
