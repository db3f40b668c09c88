"""Tree ensembles of ai.onnx.ml: every form becomes a forest, which becomes one operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import numpy_helper
from tvm import relax

from .....errors import UserError
from .....forest import Forest
from .....passes.tree_ensemble import tree_ensemble as operator_of
from .....tree_packing import pack
from .....tvm_names import dtype_of, shape_of
from ..classes import label_of, two_scores
from ..node import Node
from ..post_transform import post_transform
from ..registry import operator
from ..tree_nodes import Leaves, Nodes, by_targets

if TYPE_CHECKING:
    from tvm.relax import Expr

_DOMAIN = "ai.onnx.ml"
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


@operator("TreeEnsembleRegressor", domain=_DOMAIN)
def regressor(node: Node, x: Expr) -> Expr:
    """Regression: base values are added behind the aggregation, then the post transform."""
    nodes, leaves = _listed(node, "target")
    outputs = node.get_int("n_targets", 1)
    sums = _aggregate(node, x, nodes, leaves, outputs, node.get_string("aggregate_function", "SUM"))
    base = _base(node, outputs)
    if base.any():
        sums = node.emit(relax.op.add(sums, node.const(base, sums)))
    return node.cast(post_transform(node, sums, node.get_string("post_transform", "NONE")), "float32")


@operator("TreeEnsembleClassifier", domain=_DOMAIN)
def classifier(node: Node, x: Expr) -> list[Expr]:
    """Classification: the label, and a score for each class.

    Two classes of which only one has weights: the other's score follows from it, as probability where all weights are
    positive, else as its negative.
    """
    nodes, leaves = _listed(node, "class")
    labels = node.get_ints("classlabels_int64s", ()) or tuple(range(len(node.get_strings("classlabels_strings"))))
    transform = node.get_string("post_transform", "NONE")
    single = len(labels) == 2 and len(set(leaves.targets.tolist())) == 1
    base = _base(node, 1 if single and len(_given(node, "base_values")) == 1 else len(labels))
    if not single:
        sums = _aggregate(node, x, nodes, leaves, len(labels), "SUM", base)
        return [label_of(node, sums, labels), node.cast(post_transform(node, sums, transform), "float32")]
    own = int(leaves.targets[0])
    leaves.targets[:] = 0
    positive = bool((leaves.weights >= 0).all())
    sums = _aggregate(node, x, nodes, leaves, 1, "SUM", base[[own if len(base) > 1 else 0]])
    return two_scores(node, sums, labels, positive, transform)


@operator("TreeEnsemble", domain=_DOMAIN, since=5)
def ensemble(node: Node, x: Expr) -> Expr:
    """Any ensemble, leaves apart from nodes."""
    modes = _tensor(node, "nodes_modes").astype(np.int64)
    leaf_weights = _tensor(node, "leaf_weights")
    count = len(modes)
    members = _tensor(node, "membership_values") if node.has("membership_values") else None
    children = []
    for side in ("true", "false"):
        ids = np.array(node.get_ints(f"nodes_{side}nodeids", ()), np.int64)
        is_leaf = np.array(node.get_ints(f"nodes_{side}leafs", ()), bool)
        if len(ids) != count or len(is_leaf) != count:
            raise UserError(f"its nodes_{side}nodeids or nodes_{side}leafs have not one entry for each node")
        limit = np.where(is_leaf, len(leaf_weights), count)
        if count and ((ids < 0) | (ids >= limit)).any():
            raise UserError(f"its nodes_{side}nodeids refer to nodes or leaves that do not exist")
        children.append((ids, is_leaf))
    nodes, rows = Nodes.with_leaves_apart(
        modes,
        np.array(node.get_ints("nodes_featureids", ()), np.int64),
        _tensor(node, "nodes_splits"),
        np.array(node.get_ints("nodes_missing_value_tracks_true", (0,) * count), bool),
        children,
        np.array(node.get_ints("tree_roots", ()), np.int64),
        members,
    )
    targets = np.array(node.get_ints("leaf_targetids", ()), np.int64)
    if len(targets) != len(leaf_weights):
        raise UserError("its leaf_targetids and leaf_weights differ in length")
    leaves = Leaves(rows[:, 0], targets[rows[:, 1]], leaf_weights[rows[:, 1]])
    aggregate, transform = node.get_int("aggregate_function", 1), node.get_int("post_transform", 0)
    if aggregate not in range(len(_AGGREGATES)) or transform not in range(len(_TRANSFORMS)):
        raise UserError(f"its aggregate_function {aggregate} or post_transform {transform} does not exist")
    sums = _aggregate(node, x, nodes, leaves, node.get_int("n_targets", 1), _AGGREGATES[aggregate])
    return node.cast(post_transform(node, sums, _TRANSFORMS[transform]), dtype_of(x))


def _aggregate(
    node: Node, x: Expr, nodes: Nodes, leaves: Leaves, outputs: int, function: str, base: Any = None
) -> Expr:
    """Return the aggregated leaves [N, outputs] as one operator."""
    if function not in _AGGREGATES:
        raise UserError(f"its aggregate_function '{function}' does not exist: it is one of {', '.join(_AGGREGATES)}")
    if len(shape_of(x)) != 2:
        raise UserError(f"its input has {len(shape_of(x))} dimensions; it is [rows, features]")
    if dtype_of(x) not in ("float32", "float64"):
        x = node.cast(x, "float32")
    kind = function.lower() if function in ("MIN", "MAX") else "sum"
    tree = nodes.splits(dtype_of(x))
    leaf, values, target, complete = by_targets(leaves, nodes, outputs, kind)
    first = np.zeros(outputs) if base is None else base
    forest = Forest(
        dtype_of(x), shape_of(x)[1], **tree, leaf=leaf, values=values, target=target, base=first, aggregate=kind
    )
    found = node.emit(operator_of(*_packed(forest, x)))
    if not complete:
        # An output that no leaf of a row has counts as nothing.
        infinite = node.emit(relax.op.isinf(found))
        found = node.emit(relax.op.where(infinite, node.const(0.0, found), found))
    if function == "AVERAGE":
        found = node.emit(relax.op.divide(found, node.const(float(len(forest.roots)), found)))
    return found


def _packed(forest: Forest, x: Expr) -> tuple[Any, Expr, dict[str, Any]]:
    described, operands = pack(forest)
    return described, x, operands


def _listed(node: Node, kind: str) -> tuple[Nodes, Leaves]:
    """Return nodes and leaves of the forms that name every node by its tree and number."""
    ids = {name: np.array(node.get_ints(f"nodes_{name}", ()), np.int64) for name in _NODE_IDS}
    modes = node.get_strings("nodes_modes")
    values = _given(node, "nodes_values")
    missing = np.array(node.get_ints("nodes_missing_value_tracks_true", (0,) * len(modes)), bool)
    if any(len(each) != len(modes) for each in (*ids.values(), values, missing)) or not len(modes):
        raise UserError("its lists of nodes differ in length, or are empty")
    nodes = Nodes.listed(ids, modes, values, missing)
    places = [np.array(node.get_ints(f"{kind}_{each}", ()), np.int64) for each in ("treeids", "nodeids", "ids")]
    weights = _given(node, f"{kind}_weights")
    if any(len(each) != len(weights) for each in places) or not len(weights):
        raise UserError(f"its lists of {kind} weights differ in length, or are empty")
    return nodes, Leaves(nodes.find(places[0], places[1]), places[2], weights)


_NODE_IDS = ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids")


def _given(node: Node, name: str) -> Any:
    """Return numbers that a node states as floats, or as a tensor of doubles."""
    tensor = node.get_tensor(f"{name}_as_tensor")
    if tensor is not None:
        return numpy_helper.to_array(tensor).reshape(-1)
    return np.array(node.get_floats(name, ()), np.float32)


def _tensor(node: Node, name: str) -> Any:
    tensor = node.get_tensor(name)
    if tensor is None:
        raise UserError(f"its attribute {name} is missing or no tensor")
    return numpy_helper.to_array(tensor).reshape(-1)


def _base(node: Node, outputs: int) -> Any:
    base = _given(node, "base_values")
    if len(base) not in (0, 1, outputs):
        raise UserError(f"it has {len(base)} base values for {outputs} outputs")
    return np.broadcast_to(base if len(base) else np.zeros(1, np.float32), (outputs,)).copy()
