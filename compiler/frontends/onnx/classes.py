"""Labels of classifiers: int64 labels of the model, or the number of the class where labels are strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .node import Node
from .post_transform import post_transform

if TYPE_CHECKING:
    from tvm.relax import Expr


def class_labels(node: Node, integers: str, count: int) -> tuple[int, ...]:
    """Return the labels of classes: the attribute's, else their numbers (also where they are strings)."""
    return node.get_ints(integers, ()) or tuple(range(len(node.get_strings("classlabels_strings")) or count))


def label_of(node: Node, scores: Expr, labels: Sequence[int]) -> Expr:
    """Return the label int64 [N] of the highest score, the first of equals; numbers where labels are strings."""
    best = node.emit(relax.op.argmax(scores, axis=1))
    if tuple(labels) == tuple(range(len(labels))):
        return named(node, node.cast(best, "int64"))
    return node.emit(relax.op.take(node.const(np.array(labels), "int64"), best, axis=0))


def named(node: Node, numbers: Expr) -> Expr:
    """Return the numbers of classes, remembered as those of the model's strings where it has any."""
    strings = node.get_strings("classlabels_strings")
    integers = any(node.has(f"classlabels_{kind}") for kind in ("ints", "int64s"))
    return node.name_elements(numbers, strings) if strings and not integers else numbers


def two_scores(node: Node, score: Expr, labels: Sequence[int], probability: bool, transform: str) -> list[Expr]:
    """Return label and scores [N, 2] of two classes from the one score [N, 1] of the second.

    Args:
        probability: whether the score is one, so that the first class has the rest of 1; else it has the negative.
    """
    limit = 0.5 if probability else 0.0
    flat = node.emit(relax.op.squeeze(score, [1]))
    second = node.emit(relax.op.greater(flat, node.const(limit, score)))
    values = [node.const(labels[at], "int64") for at in (1, 0)]
    label = named(node, node.emit(relax.op.where(second, *values)))
    if probability and transform != "LOGISTIC":
        first = node.emit(relax.op.subtract(node.const(1.0, score), score))
    else:
        first = node.emit(relax.op.negative(score))
    if transform == "LOGISTIC":
        first, score = (post_transform(node, each, transform) for each in (first, score))
    scores = node.emit(relax.op.concat([first, score], axis=1))
    return [label, node.cast(scores, "float32")]
