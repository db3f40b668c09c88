"""XGBoost's own model files, as JSON or UBJSON (https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import UserError
from ....forest import Boundaries, Forest
from ....registry import nearest
from . import objectives
from .fields import Fields
from .load import TreeModel
from .objectives import Link
from .splits import categories

Array = NDArray[Any]


def _same(value: float) -> float:
    return value


def _logit(value: float) -> float:
    return -math.log(1.0 / value - 1.0)


@dataclass(frozen=True)
class _Objective:
    """From sums to predictions, and from the predictions' base score back to the sums."""

    link: Link
    margin: Callable[[float], float] = _same


_IDENTITY = _Objective(objectives.identity)
_LOGISTIC = _Objective(objectives.sigmoid, _logit)
_LOG = _Objective(objectives.exponential, math.log)
_OBJECTIVES = {
    **dict.fromkeys(("reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:pseudohubererror"), _IDENTITY),
    **dict.fromkeys(("reg:absoluteerror", "reg:quantileerror", "reg:expectileerror"), _IDENTITY),
    **dict.fromkeys(("rank:pairwise", "rank:ndcg", "rank:map"), _IDENTITY),
    **dict.fromkeys(("reg:logistic", "binary:logistic"), _LOGISTIC),
    **dict.fromkeys(("reg:gamma", "reg:tweedie", "count:poisson", "survival:cox", "survival:aft"), _LOG),
    "binary:logitraw": _Objective(objectives.identity, _logit),
    "binary:hinge": _Objective(objectives.step),
    "multi:softprob": _Objective(objectives.softmax),
    "multi:softmax": _Objective(objectives.argmax),
}


def read(document: Any) -> TreeModel:
    """Return the model of a parsed file. Raises UserError for what is damaged or not a model of trees."""
    learner = Fields(document, "the file").part("learner")
    name = learner.part("objective").text("name")
    if name not in _OBJECTIVES:
        raise UserError(f"its objective '{name}' is not supported{nearest(name, list(_OBJECTIVES))}")
    param = learner.part("learner_model_param")
    outputs = max(1, param.integer("num_class", 0, most=2**20), param.integer("num_target", 1, most=2**20))
    booster, weights = _booster(learner)
    objective = _OBJECTIVES[name]
    base = _base(param.get("base_score"), outputs, objective.margin)
    forest = _forest(booster.part("model"), param.integer("num_feature", least=1), base, weights)
    return TreeModel("XGBoost model", forest, objective.link)


def _booster(learner: Fields) -> tuple[Fields, Fields | None]:
    """Return the trees' part, and for DART the part that holds their weights."""
    booster = learner.part("gradient_booster")
    name = booster.values.get("name", "gbtree")
    if name == "dart":
        return booster.part("gbtree"), booster
    if name != "gbtree":
        raise UserError(f"its booster '{name}' is not made of trees: export the model to ONNX and compile that")
    return booster, None


def _base(text: Any, outputs: int, margin: Callable[[float], float]) -> Array:
    try:
        found = json.loads(text) if isinstance(text, str) else text
        scores = np.atleast_1d(np.asarray(found, np.float32))
        margins = np.array([margin(float(each)) for each in scores], np.float32)
        return np.broadcast_to(margins, (outputs,)).copy()
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise UserError(f"its base score {str(text)[:40]} does not fit its objective and {outputs} outputs") from error


def _forest(model: Fields, features: int, base: Array, dart: Fields | None) -> Forest:
    listed = model.get("trees")
    if not isinstance(listed, list) or not listed:
        raise UserError("the model holds no trees")
    weights = dart.array("weight_drop", "float32", len(listed)) if dart else np.ones(len(listed), np.float32)
    target = model.array("tree_info", "int32", len(listed))
    if target.min() < 0 or target.max() >= len(base):
        raise UserError(f"a tree belongs to output {int(target.max())}, but there are {len(base)} outputs")
    trees = [_tree(Fields(each, f"tree {at}")) for at, each in enumerate(listed)]
    starts = np.cumsum([0, *(len(tree.left) for tree in trees)])
    joined: dict[str, Array] = {}
    for name in ("right", "left", "feature", "threshold", "missing_right", "value"):
        joined[name] = np.concatenate([getattr(tree, name) for tree in trees])
    split = joined["left"] >= 0
    shift = np.repeat(starts[:-1], np.diff(starts))
    leaf = np.where(split, -1, np.arange(len(split)))
    return Forest(
        "float32",
        features,
        starts[:-1].astype(np.int32),
        np.where(split, joined["left"] + shift, -1),
        np.where(split, joined["right"] + shift, -1),
        joined["feature"],
        np.where(split, joined["threshold"], np.nan).astype(np.float32),
        {int(starts[at]) + node: bounds for at, tree in enumerate(trees) for node, bounds in tree.sets.items()},
        joined["missing_right"],
        leaf,
        joined["value"] * np.repeat(weights, np.diff(starts)),
        target,
        base,
    )


@dataclass(frozen=True)
class _Tree:
    left: Array
    right: Array
    feature: Array
    threshold: Array
    missing_right: Array
    value: Array
    sets: dict[int, Boundaries]


def _tree(fields: Fields) -> _Tree:
    if fields.part("tree_param").integer("size_leaf_vector", 1) > 1:
        raise UserError(f"{fields.where} has vectors for leaves; train it with multi_strategy='one_output_per_tree'")
    left = fields.array("left_children", "int32")
    count = len(left)
    right = fields.array("right_children", "int32", count)
    split = left >= 0
    if (left[split] >= count).any() or (right[split] >= count).any() or (right[split] < 0).any():
        raise UserError(f"{fields.where} refers to a node that it does not have")
    conditions = fields.array("split_conditions", "float32", count)
    threshold = conditions.copy()
    sets: dict[int, Boundaries] = {}
    for node, members in _categorical(fields, count).items():
        sets[node] = categories(members, "float32")
        threshold[node] = np.nan
    return _Tree(
        left,
        right,
        fields.array("split_indices", "int32", count),
        threshold,
        fields.array("default_left", "uint8", count) == 0,
        np.where(split, np.float32(0), conditions),
        sets,
    )


def _categorical(fields: Fields, count: int) -> dict[int, list[int]]:
    """Return the categories that lead to the right, by node."""
    nodes = fields.array("categories_nodes", "int32", missing=0)
    begins, sizes = (fields.array(f"categories_{each}", "int64", len(nodes), 0) for each in ("segments", "sizes"))
    members = fields.array("categories", "int64", missing=0)
    if ((begins < 0) | (sizes < 0) | (begins + sizes > len(members))).any() or (members < 0).any():
        raise UserError(f"{fields.where} refers to categories that it does not have")
    if len(nodes) and not 0 <= nodes.min() <= nodes.max() < count:
        raise UserError(f"{fields.where} has categories of a node that it does not have")
    kinds = fields.array("split_type", "uint8", count, 0)
    found = {int(n): members[b : b + s].tolist() for n, b, s in zip(nodes, begins, sizes, strict=True)}
    if set(np.flatnonzero(kinds).tolist()) - set(found):
        raise UserError(f"{fields.where} has a categorical split without categories")
    return {node: each for node, each in found.items() if kinds[node]}
