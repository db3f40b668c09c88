"""Nodes of ONNX's tree ensembles, as the arrays of a forest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import UserError
from ....forest import Boundaries, after, not_below

Array = NDArray[Any]
#: In the order of TreeEnsemble's numbers; LEAF only where nodes are listed by name.
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER", "LEAF")
_LEQ, _LT, _GTE, _GT, _EQ, _NEQ, _MEMBER, _LEAF = range(len(MODES))
#: Modes whose test, as a forest states it, holds where the ONNX test holds; of the others it is the opposite.
_RIGHT_IS_TRUE = (_GTE, _GT, _EQ, _MEMBER)
_MOST_VALUES = 2**31


@dataclass
class Leaves:
    """Weights of leaves: for each its node, its output and its value."""

    nodes: Array
    targets: Array
    weights: Array


@dataclass
class Nodes:
    """Nodes by number.

    Attributes:
        modes: int64 [nodes], places in MODES.
        true, false: int64 [nodes]: children; anything at leaves.
        members: the values of each MEMBER node, by node.
        keys: of listed nodes: tree and number in one, to find a node by.
    """

    modes: Array
    features: Array
    values: Array
    missing_true: Array
    true: Array
    false: Array
    roots: Array
    members: dict[int, Array]
    keys: Array | None = None

    @staticmethod
    def listed(ids: dict[str, Array], modes: tuple[str, ...], values: Array, missing: Array) -> Nodes:
        """Return nodes that name their children by number within their tree; a tree begins with its first node."""
        unknown = sorted(set(modes) - set(MODES))
        if unknown:
            raise UserError(f"its node mode '{unknown[0]}' does not exist")
        numbers = np.array([MODES.index(each) for each in modes])
        trees = ids["treeids"]
        none = np.zeros(0, np.int64)
        nodes = Nodes(numbers, ids["featureids"], values, missing, none, none, none, {}, _keys(trees, ids["nodeids"]))
        if len(np.unique(_keys(trees, ids["nodeids"]))) < len(modes):
            raise UserError("it lists a node of a tree twice")
        _, first = np.unique(trees, return_index=True)
        nodes.roots = np.sort(first)
        split = numbers != _LEAF
        nodes.true, nodes.false = (np.zeros(len(modes), np.int64) for _ in range(2))
        nodes.true[split] = nodes.find(trees[split], ids["truenodeids"][split])
        nodes.false[split] = nodes.find(trees[split], ids["falsenodeids"][split])
        return nodes

    @staticmethod
    def with_leaves_apart(
        modes: Array,
        features: Array,
        values: Array,
        missing: Array,
        children: list[tuple[Array, Array]],
        roots: Array,
        members: Array | None,
    ) -> tuple[Nodes, Array]:
        """Return nodes with a leaf of its own wherever one is referred to, and [leaves, 2]: node, row of the weights.

        Args:
            children: for true, then false: numbers, and whether these are of leaves.
        """
        count = len(modes)
        if any(len(each) != count for each in (features, values, missing)) or not count or modes.max() > _MEMBER:
            raise UserError("its lists of nodes differ in length, are empty, or hold a mode that does not exist")
        found, rows = [], []
        for side, (ids, is_leaf) in enumerate(children):
            fresh = count * (side + 1) + np.arange(count)
            found.append(np.where(is_leaf, fresh, ids))
            rows.append(np.stack([fresh[is_leaf], ids[is_leaf]], 1))
        padded = [
            np.concatenate([each, np.zeros(2 * count, each.dtype)]) for each in (features, values, missing, *found)
        ]
        kinds = np.concatenate([modes, np.full(2 * count, _LEAF)])
        if len(roots) and not 0 <= roots.min() <= roots.max() < count:
            raise UserError("its tree_roots refer to nodes that do not exist")
        given = dict(zip(("features", "values", "missing_true", "true", "false"), padded, strict=True))
        nodes = Nodes(modes=kinds, roots=roots, members=_members(modes, members), **given)
        return nodes, np.concatenate(rows)

    def find(self, trees: Array, numbers: Array) -> Array:
        """Return the places of nodes. Raises UserError where one is not listed."""
        assert self.keys is not None
        order = np.argsort(self.keys)
        wanted = _keys(trees, numbers)
        places = order[np.minimum(np.searchsorted(self.keys[order], wanted), len(order) - 1)]
        lost = self.keys[places] != wanted
        if lost.any():
            raise UserError(
                f"it refers to node {int(numbers[lost][0])} of tree {int(trees[lost][0])}, which is not listed"
            )
        return np.asarray(places)

    def splits(self, dtype: str) -> dict[str, Any]:
        """Return the fields of a forest over data of an element type, but for its leaves."""
        modes, leaf = self.modes, self.modes == _LEAF
        right_true = np.isin(modes, _RIGHT_IS_TRUE)
        above = (modes == _LEQ) | (modes == _GT)
        threshold = np.where(above, after(self.values, dtype), not_below(self.values, dtype)).astype(dtype)
        is_set = np.isin(modes, (_EQ, _NEQ, _MEMBER))
        if (np.isnan(self.values) & ~leaf & (modes != _MEMBER)).any():
            raise UserError("one of its nodes compares with NaN")
        # NaN differs from every number, so that BRANCH_NEQ always holds for it.
        to_true = self.missing_true | (modes == _NEQ)
        return {
            "roots": self.roots.astype(np.int32),
            "left": np.where(leaf, -1, np.where(right_true, self.false, self.true)).astype(np.int32),
            "right": np.where(leaf, -1, np.where(right_true, self.true, self.false)).astype(np.int32),
            "feature": self.features.astype(np.int32),
            "threshold": np.where(leaf | is_set, np.array(np.nan, dtype), threshold),
            "sets": {int(at): self._members_of(int(at), dtype) for at in np.flatnonzero(is_set)},
            "missing_right": to_true == right_true,
        }

    def _members_of(self, at: int, dtype: str) -> Boundaries:
        values = self.members[at] if self.modes[at] == _MEMBER else self.values[[at]]
        exact = np.unique(values[values.astype(dtype).astype(np.float64) == values].astype(dtype))
        bounds: list[float] = []
        for value in exact:
            follower = float(after(value, dtype))
            if bounds and bounds[-1] == value:
                bounds.pop()
            else:
                bounds.append(float(value))
            bounds.append(follower)
        return tuple(bounds)


def _keys(trees: Array, numbers: Array) -> Array:
    if len(trees) and (min(trees.min(), numbers.min()) < 0 or max(trees.max(), numbers.max()) >= 2**31):
        raise UserError("its trees or nodes have numbers below 0 or above 2^31")
    return np.asarray(trees * 2**31 + numbers)


def _members(modes: Array, values: Array | None) -> dict[int, Array]:
    """Return each MEMBER node's values: they stand in the nodes' order, NaN behind each node's last."""
    nodes = np.flatnonzero(modes == _MEMBER)
    ends = np.flatnonzero(np.isnan(values)) if values is not None else np.zeros(0, np.int64)
    if len(ends) < len(nodes):
        raise UserError(f"it has {len(nodes)} nodes that test for membership, but {len(ends)} lists of members")
    found: dict[int, Array] = {}
    begin = 0
    for node, end in zip(nodes, ends, strict=False):
        assert values is not None
        found[int(node)] = values[begin:end]
        begin = int(end) + 1
    return found


def by_targets(leaves: Leaves, nodes: Nodes, outputs: int, kind: str) -> tuple[Array, Array, Array | None, bool]:
    """Return a forest's leaves: the row of each node, the values, each tree's output, whether leaves have all outputs.

    A sum whose trees each have one output keeps one value a leaf; otherwise a leaf has a value for every output.
    """
    targets = leaves.targets
    if len(targets) and not 0 <= targets.min() <= targets.max() < outputs:
        raise UserError(f"its leaves have outputs up to {int(targets.max())}; there are {outputs}")
    if (nodes.modes[leaves.nodes] != _LEAF).any():
        raise UserError("it gives weights to nodes that are no leaves")
    rows = np.where(nodes.modes == _LEAF, np.cumsum(nodes.modes == _LEAF) - 1, -1).astype(np.int32)
    count = int(rows.max()) + 1
    row = rows[leaves.nodes]
    dtype = "float64" if leaves.weights.dtype == np.float64 else "float32"
    single = _tree_targets(leaves, nodes, outputs) if kind == "sum" else None
    if single is not None:
        values = np.zeros(count, dtype)
        np.add.at(values, row, leaves.weights)
        return rows, values, single, True
    if count * outputs > _MOST_VALUES:
        raise UserError(f"its {count} leaves have {outputs} outputs each, which is too large")
    nothing = {"sum": 0.0, "min": np.inf, "max": -np.inf}[kind]
    dense = np.full((count, outputs), nothing, dtype)
    fold = {"sum": np.add, "min": np.minimum, "max": np.maximum}[kind]
    fold.at(dense, (row, targets), leaves.weights)
    return rows, dense, None, bool(np.isfinite(dense).all())


def _tree_targets(leaves: Leaves, nodes: Nodes, outputs: int) -> Array | None:
    """Return the one output of each tree, None where one has several."""
    if outputs == 1:
        return np.zeros(len(nodes.roots), np.int32)
    owner = np.zeros(len(nodes.modes), np.int64)
    front, trees = nodes.roots, np.arange(len(nodes.roots))
    for _ in range(len(nodes.modes)):
        owner[front] = trees
        inner = nodes.modes[front] != _LEAF
        if not inner.any():
            break
        front, trees = np.concatenate([nodes.true[front[inner]], nodes.false[front[inner]]]), np.tile(trees[inner], 2)
        if len(front) > len(nodes.modes):
            raise UserError("a node of a tree has two parents: the model is damaged")
    of_leaf = owner[leaves.nodes]
    found = np.zeros(len(nodes.roots), np.int32)
    found[of_leaf] = leaves.targets
    return found if (found[of_leaf] == leaves.targets).all() else None
