"""Random forests with every kind of split, rows that meet their boundaries, and workloads made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilewright.forest import Forest
from tilewright.tree_packing import pack
from tilewright.workload import TensorType, Workload

Array = NDArray[Any]


@dataclass
class Shape:
    """How a random forest looks.

    Attributes:
        grid: different boundaries of a feature.
        vector: whether leaves have a value for every output.
        sets: the share of splits that test for membership.
    """

    trees: int = 12
    depth: int = 4
    features: int = 7
    outputs: int = 1
    vector: bool = False
    sets: float = 0.2
    grid: int = 30
    dtype: str = "float32"
    values: str = "float32"
    aggregate: str = "sum"


@dataclass
class _Nodes:
    left: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    missing_right: list[bool] = field(default_factory=list)
    leaf: list[int] = field(default_factory=list)
    values: list[Array] = field(default_factory=list)
    sets: dict[int, tuple[float, ...]] = field(default_factory=dict)


def random_forest(shape: Shape, seed: int = 0) -> Forest:
    """Return a forest of unbalanced trees."""
    random = np.random.default_rng(seed)
    grid = random.standard_normal((shape.features, shape.grid)).astype(shape.dtype)
    nodes = _Nodes()

    def grow(level: int) -> int:
        at = len(nodes.left)
        for name, value in (("left", -1), ("right", -1), ("feature", 0), ("threshold", np.nan), ("leaf", -1)):
            getattr(nodes, name).append(value)
        nodes.missing_right.append(bool(random.random() < 0.5))
        if level == shape.depth or (level > 1 and random.random() < 0.2):
            nodes.leaf[at] = len(nodes.values)
            nodes.values.append(random.standard_normal(shape.outputs if shape.vector else 1))
            return at
        nodes.feature[at] = feature = int(random.integers(shape.features))
        if random.random() < shape.sets:
            nodes.sets[at] = tuple(sorted(random.choice(grid[feature], 4, replace=False).tolist()))
        else:
            nodes.threshold[at] = random.choice(grid[feature])
        nodes.left[at], nodes.right[at] = grow(level + 1), grow(level + 1)
        return at

    roots = np.array([grow(0) for _ in range(shape.trees)], np.int32)
    values = np.array(nodes.values, shape.values)
    return Forest(
        shape.dtype,
        shape.features,
        roots,
        np.array(nodes.left, np.int32),
        np.array(nodes.right, np.int32),
        np.array(nodes.feature, np.int32),
        np.array(nodes.threshold, shape.dtype),
        nodes.sets,
        np.array(nodes.missing_right),
        np.array(nodes.leaf, np.int32),
        values if shape.vector else values[:, 0],
        None if shape.vector else np.arange(shape.trees, dtype=np.int32) % shape.outputs,
        random.standard_normal(shape.outputs).astype(shape.values),
        shape.aggregate,
    )


def rows_for(forest: Forest, rows: int, seed: int = 1) -> Array:
    """Return rows of features with missing values, infinities and the boundaries themselves among them."""
    random = np.random.default_rng(seed)
    data = random.standard_normal((rows, forest.features)).astype(forest.dtype)
    bounds = [forest.threshold[~np.isnan(forest.threshold)], *(np.array(each) for each in forest.sets.values())]
    for share, values in ((0.1, [np.nan]), (0.02, [np.inf]), (0.02, [-np.inf]), (0.2, np.concatenate(bounds))):
        where = random.random(data.shape) < share
        data[where] = random.choice(values, where.sum())
    return data


def workload_of(forest: Forest, rows: int) -> tuple[Workload, list[Array]]:
    """Return the workload of a forest over so many rows, and its operands behind x."""
    ensemble, operands = pack(forest)
    inputs = [TensorType((rows, forest.features), forest.dtype)]
    inputs += [TensorType(each.shape, each.dtype.name) for each in operands.values()]
    output = TensorType((rows, forest.outputs), forest.values.dtype.name)
    work = Workload("tree_ensemble", tuple(inputs), (output,), ensemble.attributes(), len(inputs))
    return work, list(operands.values())
