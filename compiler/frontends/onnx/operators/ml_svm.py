"""Support vector machines of ai.onnx.ml.

They are computed in double precision: a decision is a sum of large terms that nearly cancel, and probabilities magnify
what is lost there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import relax

from .....errors import UserError
from .....passes.tensor_functions import call
from .....tvm_names import dtype_of, shape_of
from ..classes import class_labels, label_of
from ..node import Node
from ..post_transform import post_transform
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr

_DOMAIN = "ai.onnx.ml"

#: Probabilities of pairs stay this far from 0 and 1.
_MARGIN = 1e-7


@operator("SVMRegressor", domain=_DOMAIN)
def svm_regressor(node: Node, x: Expr) -> Expr:
    """A weighted sum of kernels between rows and support vectors; of one class, the sum's sign."""
    x = node.cast(x, "float64")
    count = node.get_int("n_supports", 0)
    weights = np.array(node.get_floats("coefficients", ()), np.float32).reshape(-1, 1)
    kernels = _kernels(node, x, _vectors(node, count, x)) if count else x
    if shape_of(kernels)[1] != len(weights):
        raise UserError(f"it has {len(weights)} coefficients for {shape_of(kernels)[1]} kernels")
    rho = np.array(node.get_floats("rho", (0.0,)), np.float32)
    score = node.emit(relax.op.add(node.emit(relax.op.matmul(kernels, node.const(weights, x))), node.const(rho[:1], x)))
    if node.get_int("one_class", 0):
        inside = node.emit(relax.op.greater(score, node.const(0.0, x)))
        score = node.emit(relax.op.where(inside, node.const(1.0, x), node.const(-1.0, x)))
    return post_transform(node, node.cast(score, "float32"), node.get_string("post_transform", "NONE"))


@operator("SVMClassifier", domain=_DOMAIN)
def svm_classifier(node: Node, x: Expr) -> list[Expr]:
    """One decision for each pair of classes; the class with most votes wins, the first of equals.

    Scores are the pairs' decisions, or with ``prob_a`` and ``prob_b`` probabilities of the classes, whose order may
    differ from that of the votes.
    """
    sizes = node.get_ints("vectors_per_class", ())
    if not sizes:
        raise UserError("it has no support vectors: convert the linear model as LinearClassifier")
    x = node.cast(x, "float64")
    labels = class_labels(node, "classlabels_ints", len(sizes))
    if len(labels) != len(sizes) or len(sizes) < 2:
        raise UserError(f"it has support vectors of {len(sizes)} classes, but {len(labels)} labels")
    kernels = _kernels(node, x, _vectors(node, sum(sizes), x))
    weights, left, right = _pairs(node, sizes)
    scores = _decisions(node, kernels, weights)
    label = label_of(node, _votes(node, scores, left, right), labels)
    if node.get_floats("prob_a", ()):
        scores = _probabilities(node, scores, left, right)
    elif len(sizes) == 2:
        scores = node.emit(relax.op.concat([scores, node.emit(relax.op.negative(scores))], axis=1))
    scores = node.cast(scores, "float32")
    return [label, post_transform(node, scores, node.get_string("post_transform", "NONE"))]


def _decisions(node: Node, kernels: Expr, weights: Any) -> Expr:
    """Return the decisions [N, pairs]."""
    rho = np.array(node.get_floats("rho", ()), np.float32)
    if rho.size != weights.shape[1]:
        raise UserError(f"it has {rho.size} offsets for {weights.shape[1]} pairs of classes")
    sums = node.emit(relax.op.matmul(kernels, node.const(weights, kernels)))
    return node.emit(relax.op.add(sums, node.const(rho, kernels)))


def _votes(node: Node, scores: Expr, left: Any, right: Any) -> Expr:
    """Return the votes [N, C]: of each pair one goes to the left class where its decision is positive, else right."""
    won = node.cast(node.emit(relax.op.greater(scores, node.const(0.0, scores))), dtype_of(scores))
    gains = node.emit(relax.op.matmul(won, node.const(left - right, scores)))
    return node.emit(relax.op.add(gains, node.const(right.sum(0), scores)))


def _probabilities(node: Node, scores: Expr, left: Any, right: Any) -> Expr:
    """Return the probabilities [N, C] of classes, from Platt's of the pairs: ``1 / (1 + exp(a * decision + b))``."""
    pairs, classes = left.shape
    slope, offset = (np.array(node.get_floats(name, ()), np.float32) for name in ("prob_a", "prob_b"))
    if not slope.size == offset.size == pairs:
        raise UserError(f"it has {slope.size} and {offset.size} numbers for the probabilities of {pairs} pairs")
    scaled = node.emit(relax.op.multiply(scores, node.const(-slope, scores)))
    first = node.emit(relax.op.sigmoid(node.emit(relax.op.subtract(scaled, node.const(offset, scores)))))
    first = node.emit(relax.op.clip(first, _MARGIN, 1 - _MARGIN))
    second = node.emit(relax.op.subtract(node.const(1.0, scores), first))
    places = np.zeros((classes, classes), np.int64)
    for at, (i, j) in enumerate(zip(left.argmax(1), right.argmax(1), strict=True)):
        places[i, j], places[j, i] = at, pairs + at
    both = node.emit(relax.op.concat([first, second], axis=1))
    taken = node.emit(relax.op.take(both, node.const(places.reshape(-1), "int64"), axis=1, mode="fast"))
    count = shape_of(scores)[0]
    return node.emit(call("pairwise_coupling", [node.reshape(taken, (count, classes, classes))]))


def _pairs(node: Node, sizes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """Return the weights [vectors, pairs] of each pair's decision, its left and its right class [pairs, C]."""
    classes = len(sizes)
    coefficients = np.array(node.get_floats("coefficients", ()), np.float32)
    if coefficients.size != (classes - 1) * sum(sizes):
        raise UserError(f"it has {coefficients.size} coefficients for {sum(sizes)} support vectors")
    coefficients = coefficients.reshape(classes - 1, sum(sizes))
    begins = np.cumsum([0, *sizes])
    pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
    weights = np.zeros((sum(sizes), len(pairs)), np.float32)
    for at, (i, j) in enumerate(pairs):
        weights[begins[i] : begins[i + 1], at] = coefficients[j - 1, begins[i] : begins[i + 1]]
        weights[begins[j] : begins[j + 1], at] = coefficients[i, begins[j] : begins[j + 1]]
    one_hot = np.eye(classes, dtype=np.float32)
    return weights, one_hot[[i for i, _ in pairs]], one_hot[[j for _, j in pairs]]


def _vectors(node: Node, count: int, x: Expr) -> Any:
    vectors = np.array(node.get_floats("support_vectors", ()), np.float32)
    if vectors.size != count * shape_of(x)[1]:
        raise UserError(f"its {vectors.size} elements of support vectors are not {count} x {shape_of(x)[1]}")
    return vectors.reshape(count, -1)


def _kernels(node: Node, x: Expr, vectors: Any) -> Expr:
    """Return the kernels [N, vectors] between rows and support vectors."""
    gamma, offset, degree = (*node.get_floats("kernel_params", (0.0, 0.0, 0.0)), 0.0, 0.0, 0.0)[:3]
    kind = node.get_string("kernel_type", "LINEAR")
    if kind == "RBF":
        # The differences themselves: |x|^2 + |v|^2 - 2 x v loses digits where both are large.
        difference = node.emit(relax.op.subtract(node.emit(relax.op.expand_dims(x, 1)), node.const(vectors[None], x)))
        distance = node.emit(relax.op.sum(node.emit(relax.op.multiply(difference, difference)), axis=2))
        return node.emit(relax.op.exp(node.emit(relax.op.multiply(distance, node.const(-gamma, x)))))
    dot = node.emit(relax.op.matmul(x, node.const(np.ascontiguousarray(vectors.T), x)))
    if kind == "LINEAR":
        return dot
    line = node.emit(relax.op.add(node.emit(relax.op.multiply(dot, node.const(gamma, x))), node.const(offset, x)))
    if kind == "SIGMOID":
        return node.emit(relax.op.tanh(line))
    if kind != "POLY" or degree != int(degree) or not 0 <= degree <= 32:
        raise UserError(f"its kernel {kind} of degree {degree:g} is not supported")
    power = node.const(np.ones(shape_of(line)), x)
    for _ in range(int(degree)):
        power = node.emit(relax.op.multiply(power, line))
    return power
