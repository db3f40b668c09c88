"""LightGBM's text files, as ``Booster.save_model`` writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import UserError
from ....forest import Boundaries, Forest, after, not_below
from ....registry import nearest
from . import objectives
from .fields import Fields
from .load import TreeModel
from .objectives import Link
from .splits import categories, region

Array = NDArray[Any]

_IDENTITY = ("regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "custom", "none")
_LINKS: dict[str, Link] = {
    **dict.fromkeys(_IDENTITY, objectives.identity),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), objectives.exponential),
    **dict.fromkeys(("regression", "regression_l2"), objectives.identity),
    **dict.fromkeys(("binary", "multiclassova", "cross_entropy"), objectives.sigmoid),
    "cross_entropy_lambda": objectives.softplus,
    "multiclass": objectives.softmax,
}
#: Bits of a split's decision type, and the bits above them where zero is missing, too.
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_ZERO_MISSING = 1
#: What LightGBM takes for zero.
_ZERO = 1.0000000180025095e-35


def read(text: str) -> TreeModel:
    """Return the model of a file's text. Raises UserError for what is damaged or not supported."""
    head, *blocks = text.split("\nTree=")
    if not head.startswith("tree\n"):
        raise UserError("not a LightGBM model: it does not begin with 'tree'")
    header = _fields(head, "its head")
    outputs = header.integer("num_tree_per_iteration", 1, 1, 2**20)
    trees = [_fields(each.split("\nend of trees")[0], f"tree {at}") for at, each in enumerate(blocks)]
    if not trees or "end of trees" not in blocks[-1]:
        raise UserError("its trees are cut off")
    rounds = max(1, len(trees) // outputs) if "\naverage_output" in head else 1
    forest = _forest(trees, header.integer("max_feature_idx") + 1, outputs, rounds)
    return TreeModel("LightGBM model", forest, _link(header))


def _fields(block: str, where: str) -> Fields:
    lines = [line.partition("=") for line in block.splitlines()]
    return Fields({name: value for name, equals, value in lines if equals}, where)


def _link(header: Fields) -> Link:
    name, *options = (header.text("objective") if header.has("objective") else "none").split()
    if name not in _LINKS:
        raise UserError(f"its objective '{name}' is not supported{nearest(name, list(_LINKS))}")
    if name.startswith("regression") and "sqrt" in options:
        return objectives.signed_square
    slopes = [float(each.partition(":")[2]) for each in options if each.startswith("sigmoid:")]
    return objectives.scaled(slopes[0] if slopes else 1.0, _LINKS[name])


class _Nodes:
    """Collects the nodes of all trees."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Array]] = {}
        self.roots: list[int] = []
        self.sets: dict[int, Boundaries] = {}
        self.count = self.leaves = 0

    def add(self, **arrays: Array) -> None:
        """Add a tree's nodes: its splits, then its leaves."""
        for name, array in arrays.items():
            self.parts.setdefault(name, []).append(array)

    def joined(self, name: str) -> Array:
        """Return an array over all nodes."""
        return np.concatenate(self.parts[name])


def _forest(trees: list[Fields], features: int, outputs: int, rounds: int) -> Forest:
    nodes = _Nodes()
    for fields in trees:
        _add_tree(nodes, fields)
    return Forest(
        "float32",
        features,
        np.array(nodes.roots, np.int32),
        nodes.joined("left"),
        nodes.joined("right"),
        nodes.joined("feature"),
        nodes.joined("threshold"),
        nodes.sets,
        nodes.joined("missing_right"),
        nodes.joined("leaf"),
        nodes.joined("values") / rounds,
        np.arange(len(trees), dtype=np.int32) % outputs,
        np.zeros(outputs),
    )


def _add_tree(nodes: _Nodes, fields: Fields) -> None:
    if fields.integer("is_linear", 0):
        raise UserError(f"{fields.where} has linear models for leaves; train it with linear_tree=false")
    leaves = fields.integer("num_leaves", least=1)
    splits, first = leaves - 1, nodes.count
    kinds = fields.array("decision_type", "uint8", splits, 0)
    threshold = fields.array("threshold", "float64", splits, 0.0)
    left, right = (_children(fields, f"{side}_child", splits, first) for side in ("left", "right"))
    bounds, missing_right = _ordered(nodes, kinds, threshold, first)
    categorical = (kinds & _CATEGORICAL) != 0
    _categorical(nodes, fields, np.flatnonzero(categorical), threshold)
    # Members of a category's set go to LightGBM's left, ours to the right.
    left, right = np.where(categorical, right, left), np.where(categorical, left, right)
    none = np.full(leaves, -1, np.int32)
    nodes.add(
        left=np.concatenate([left, none]),
        right=np.concatenate([right, none]),
        feature=np.concatenate([fields.array("split_feature", "int32", splits, 0), np.zeros(leaves, np.int32)]),
        threshold=np.concatenate([bounds, np.full(leaves, np.nan, np.float32)]),
        missing_right=np.concatenate([missing_right, np.zeros(leaves, bool)]),
        leaf=np.concatenate([np.full(splits, -1, np.int32), np.arange(leaves, dtype=np.int32) + nodes.leaves]),
        values=fields.array("leaf_value", "float64", leaves),
    )
    nodes.roots.append(first)
    nodes.count += splits + leaves
    nodes.leaves += leaves


def _children(fields: Fields, name: str, splits: int, first: int) -> Array:
    """Return children as nodes: a negative one is the complement of a leaf."""
    child = fields.array(name, "int32", splits, 0)
    if len(child) and not -splits - 1 <= child.min() <= child.max() < splits:
        raise UserError(f"{fields.where} refers to a node that it does not have")
    return np.where(child >= 0, child, splits + ~child).astype(np.int32) + np.int32(first)


def _ordered(nodes: _Nodes, kinds: Array, threshold: Array, first: int) -> tuple[Array, Array]:
    """Return the boundaries of ordered splits, and where missing values go; adds sets where zero is missing."""
    missing = (kinds >> 2) & 3
    default_right = (kinds & _DEFAULT_LEFT) == 0
    categorical = (kinds & _CATEGORICAL) != 0
    bounds = np.where(categorical, np.float32(np.nan), after(threshold, "float32")).astype(np.float32)
    # Where NaN is not missing it is taken for zero.
    missing_right = np.where(missing == 0, threshold < 0, default_right) & ~categorical
    for node in np.flatnonzero((missing == _ZERO_MISSING) & ~categorical):
        nodes.sets[first + int(node)] = _zero_missing(float(bounds[node]), bool(default_right[node]))
        bounds[node] = np.nan
    return bounds, missing_right


def _zero_missing(bound: float, default_right: bool) -> Boundaries:
    """Return the numbers not below a bound, but for those that LightGBM takes for zero: they go the default way."""
    low, high = float(not_below(np.array(-_ZERO), "float32")), float(after(np.array(_ZERO), "float32"))

    def contains(value: float) -> bool:
        return default_right if low <= value < high else value >= bound

    return region((low, high, bound), contains)


def _categorical(nodes: _Nodes, fields: Fields, splits: Array, threshold: Array) -> None:
    """Add the sets of categorical splits: each names a run of 32-bit words, one bit a category."""
    if not len(splits):
        return
    begins = fields.array("cat_boundaries", "int64")
    words = fields.array("cat_threshold", "uint32")
    if len(begins) < 2 or begins[0] < 0 or (np.diff(begins) < 0).any() or begins[-1] > len(words):
        raise UserError(f"{fields.where} refers to categories that it does not have")
    for node in splits:
        at = int(threshold[node])
        if not 0 <= at < len(begins) - 1:
            raise UserError(f"{fields.where} refers to categories that it does not have")
        bits = np.unpackbits(words[begins[at] : begins[at + 1]].view(np.uint8), bitorder="little")
        nodes.sets[nodes.count + int(node)] = categories(np.flatnonzero(bits).tolist(), "float32", negative_zero=True)
