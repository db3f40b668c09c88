"""Metrics: how good a model's outputs are, against labels or against the float model's outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..registry import Registry
from .data import import_function

Array = NDArray[Any]
Runs = Sequence[Mapping[str, Array]]
#: From the outputs of every sample, the float model's outputs, and the targets, to one figure.
Measure = Callable[[Runs, Runs, Runs], float]


@dataclass(frozen=True)
class Metric:
    """A figure of merit.

    Attributes:
        measure: computes it.
        needs: the name of the target it compares with; None where the float model's outputs are the reference.
        higher_is_better: whether a larger figure is better.
    """

    name: str
    measure: Measure
    needs: str | None = None
    higher_is_better: bool = True

    def drop(self, before: float, after: float) -> float:
        """Return by how much a figure became worse; negative where it became better."""
        return before - after if self.higher_is_better else after - before


_LEAST_OVERLAP = 0.5
METRICS: Registry[Metric] = Registry("metric")


def find_metric(name: str | None, targets: Runs) -> Metric:
    """Return a metric: a row of ``METRICS``, or ``module:function`` where larger is better.

    Without a name it is top1 where every sample has labels, and cosine otherwise.

    Raises:
        UserError: there is no such metric, or a sample lacks the target it needs.
    """
    if name is None:
        name = "top1" if targets and all("labels" in each for each in targets) else "cosine"
    metric = Metric(name, _of_user(name)) if ":" in name else METRICS[name]
    if metric.needs and not all(metric.needs in each for each in targets):
        raise UserError(
            f"metric '{name}' needs '{metric.needs}' with every sample: put an array of that name beside the inputs, "
            "or images into a folder for each class"
        )
    return metric


def _of_user(name: str) -> Measure:
    """Return what ``module:function`` names, whose failures are the user's to mend."""
    function = import_function(name)

    def measure(outputs: Runs, references: Runs, targets: Runs) -> float:
        try:
            figure = float(function(outputs, references, targets))
        except Exception as error:
            raise UserError(f"metric '{name}' failed: {type(error).__name__}: {error}") from error
        if math.isnan(figure):
            raise UserError(f"metric '{name}' gave NaN: it must return a number, larger is better")
        return figure

    return measure


def _top(count: int) -> Measure:
    def measure(outputs: Runs, references: Runs, targets: Runs) -> float:
        hits: list[bool] = []
        for output, target in zip(outputs, targets, strict=True):
            scores = next(iter(output.values()))
            scores = scores.reshape(-1, scores.shape[-1])
            labels = target["labels"].reshape(-1)
            if len(labels) != len(scores):
                raise UserError(f"{len(labels)} label(s) for {len(scores)} row(s) of scores: they must be as many")
            # A class counts by how many beat it: equal scores, and NaN, are no hit by luck of the order.
            own = scores[np.arange(len(labels)), labels.astype(int)]
            hits += list(((~(scores < own[:, None])).sum(axis=1)) <= count)
        return float(np.mean(hits))

    return measure


def _cosine(outputs: Runs, references: Runs, targets: Runs) -> float:
    """The mean over samples and outputs of the cosine of the angle between them and the float model's."""
    return float(
        np.mean([cosine(run[name], ref[name]) for run, ref in zip(outputs, references, strict=True) for name in ref])
    )


def cosine(one: Array, other: Array) -> float:
    """Return the cosine of the angle between two arrays; 1 where both are zero."""
    a, b = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms else float(np.array_equal(a, b))


def _mse(outputs: Runs, references: Runs, targets: Runs) -> float:
    errors = [
        np.mean(np.square(run[name].astype(np.float64) - ref[name]))
        for run, ref in zip(outputs, references, strict=True)
        for name in ref
    ]
    return float(np.mean(errors))


def _average_precision(outputs: Runs, references: Runs, targets: Runs) -> float:
    """The mean over classes of the area under precision over recall, boxes matching from an overlap of a half on.

    Outputs are "boxes" [N, 4] (left, top, right, bottom), "scores" [N] and "labels" [N], targets "boxes" and "labels".
    """
    missing = {"boxes", "scores", "labels"} - set(outputs[0])
    if missing:
        raise UserError(f"metric 'map' needs the outputs boxes, scores and labels; the model has no '{min(missing)}'")
    classes = np.unique(np.concatenate([target["labels"].reshape(-1) for target in targets]))
    if not len(classes):
        raise UserError("metric 'map' needs at least one expected box")
    return float(np.mean([_precision_of_class(outputs, targets, int(each)) for each in classes]))


def _precision_of_class(outputs: Runs, targets: Runs, label: int) -> float:
    found: list[tuple[float, bool]] = []
    expected = 0
    for output, target in zip(outputs, targets, strict=True):
        chosen = output["labels"].reshape(-1) == label
        scores, boxes = output["scores"].reshape(-1)[chosen], output["boxes"].reshape(-1, 4)[chosen]
        truth = target["boxes"].reshape(-1, 4)[target["labels"].reshape(-1) == label]
        expected += len(truth)
        free = np.ones(len(truth), bool)
        for index in np.argsort(-scores, kind="stable"):
            overlaps = np.where(free, _overlaps(boxes[index], truth), 0.0)
            best = int(overlaps.argmax()) if len(truth) else -1
            hit = best >= 0 and bool(overlaps[best] >= _LEAST_OVERLAP)
            if hit:
                free[best] = False
            found.append((float(scores[index]), hit))
    hits = np.array([hit for _, hit in sorted(found, key=lambda pair: -pair[0])], float)
    if not len(hits):
        return 0.0
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    # At every recall counts the best precision that this or a larger recall reaches.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((envelope * hits).sum() / expected)


def _overlaps(box: Array, others: Array) -> Array:
    """Return intersection over union of a box with others."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1) - shared
    return np.asarray(shared / np.maximum(areas, 1e-12))


for _name, _count in (("top1", 1), ("top5", 5)):
    METRICS.add(_name, Metric(_name, _top(_count), "labels"))
METRICS.add("cosine", Metric("cosine", _cosine))
METRICS.add("mse", Metric("mse", _mse, higher_is_better=False))
METRICS.add("map", Metric("map", _average_precision, "boxes"))
