"""Decision forests as data: what every reader of trees makes, whatever library trained them.

A split sends a row to its right child where its feature's value lies in a set of numbers, to its left child otherwise.
The set is written as its sorted boundaries b: a value is inside where an odd number of boundaries is not above it.

=========================  ==================================================
test for the right child   boundaries
=========================  ==================================================
``x >= t``                 ``[t]``
``x > t``                  ``[after(t)]``, the next number of x's element type
``x == t``                 ``[t, after(t)]``
``int(x) in {2, 3, 7}``    ``[2, 4, 7, 8]``
=========================  ==================================================

So ordered, equal and categorical splits are one thing, exact in the element type of the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import UserError

Array = NDArray[Any]
Boundaries = tuple[float, ...]


@dataclass(frozen=True)
class Forest:
    """Trees as arrays over all their nodes.

    Attributes:
        dtype: the element type of the data, which every boundary is a number of: "float32" or "float64".
        features: how many features a row has.
        roots: int32 [trees]: the node each tree begins with, in the order of summation.
        left, right: int32 [nodes]: children; -1 at leaves.
        feature: int32 [nodes]: what a split reads; anything at leaves.
        threshold: dtype [nodes]: the one boundary of an ordered split; NaN at leaves and at splits with more.
        sets: the boundaries of splits with more than one.
        missing_right: bool [nodes]: whether a missing value (NaN) goes to the right.
        leaf: int32 [nodes]: which row of ``values`` a leaf has; -1 at splits.
        values: float32 or float64 [leaves, outputs], or [leaves] where each tree has one output.
        target: int32 [trees]: the one output that a tree adds to; None where leaves have a value for every output.
        base: [outputs]: what sums begin with.
        aggregate: "sum", "min" or "max" over the trees.
    """

    dtype: str
    features: int
    roots: Array
    left: Array
    right: Array
    feature: Array
    threshold: Array
    sets: dict[int, Boundaries]
    missing_right: Array
    leaf: Array
    values: Array
    target: Array | None
    base: Array
    aggregate: str = "sum"

    @property
    def outputs(self) -> int:
        """How many outputs a row has."""
        return len(self.base)

    def levels(self) -> tuple[Array, Array]:
        """Return each node's level [nodes] and tree [nodes] (-1 where no root leads), children after their parents.

        Raises UserError where a node has two parents, a cycle is closed, or a child or feature does not exist.
        """
        nodes = len(self.left)
        level, tree = np.full(nodes, -1, np.int32), np.full(nodes, -1, np.int32)
        front, depth = self.roots.astype(np.int64), 0
        owner = np.arange(len(front), dtype=np.int32)
        while len(front):
            if front.min() < 0 or front.max() >= nodes:
                raise UserError(f"a tree refers to node {int(front[(front < 0) | (front >= nodes)][0])}: there is none")
            if len(np.unique(front)) < len(front) or (level[front] >= 0).any():
                raise UserError("a node of a tree has two parents: the file is damaged")
            level[front], tree[front] = depth, owner
            splits = self.leaf[front] < 0
            inner, owner = front[splits], owner[splits]
            if len(inner) and not 0 <= self.feature[inner].min() <= self.feature[inner].max() < self.features:
                raise UserError(f"a tree reads a feature beyond the {self.features} that the model has")
            front = np.concatenate([self.left[inner], self.right[inner]]).astype(np.int64)
            owner, depth = np.concatenate([owner, owner]), depth + 1
        return level, tree


def after(values: Array, dtype: str) -> Array:
    """Return the numbers that follow in an element type: the least ones above each value.

    ``x > v`` is ``x >= after(v)`` for every x of the type, even where v is not of it.
    """
    exact = np.asarray(values, np.float64)
    near = _cast(exact, dtype)
    return np.where(near.astype(np.float64) > exact, near, np.nextafter(near, np.array(np.inf, dtype)))


def not_below(values: Array, dtype: str) -> Array:
    """Return the least numbers of an element type that are not below each value: ``x >= v`` for every x of the type."""
    exact = np.asarray(values, np.float64)
    near = _cast(exact, dtype)
    return np.where(near.astype(np.float64) >= exact, near, np.nextafter(near, np.array(np.inf, dtype)))


def _cast(values: Array, dtype: str) -> Array:
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def predict(forest: Forest, x: Array) -> Array:
    """Return the outputs [rows, outputs] node by node: what kernels are tested against."""
    inside = forest.threshold
    result = np.empty((len(x), forest.outputs), forest.values.dtype)
    for row, data in enumerate(np.asarray(x, forest.dtype)):
        found = []
        for root in forest.roots:
            node = int(root)
            while forest.leaf[node] < 0:
                value = data[forest.feature[node]]
                bounds = forest.sets.get(node, (inside[node],))
                odd = sum(bool(value >= each) for each in bounds) % 2 == 1
                right = forest.missing_right[node] if np.isnan(value) else odd
                node = int(forest.right[node] if right else forest.left[node])
            found.append(forest.values[forest.leaf[node]])
        result[row] = _aggregated(forest, found)
    return result


def _aggregated(forest: Forest, found: list[Any]) -> Array:
    if forest.aggregate != "sum":
        fold = np.minimum if forest.aggregate == "min" else np.maximum
        return np.asarray(forest.base + fold.reduce(found))
    total = forest.base.astype(forest.values.dtype).copy()
    for tree, value in enumerate(found):
        total[slice(None) if forest.target is None else forest.target[tree]] += value
    return total
