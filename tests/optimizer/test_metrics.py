from __future__ import annotations

import numpy as np
import pytest

from tilewright.errors import UserError
from tilewright.optimizer.metrics import METRICS, find_metric

BOXES = np.array([[0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 50, 50]], float)


def detections(boxes: np.ndarray, scores: list[float], labels: list[int]) -> dict[str, np.ndarray]:
    return {"boxes": boxes, "scores": np.array(scores), "labels": np.array(labels)}


def test_top_counts_rows_and_gives_ties_and_nan_to_nobody() -> None:
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0], [np.nan, 1.0, 0.0]])
    labels = {"labels": np.array([1, 0, 0])}
    assert METRICS["top1"].measure([{"y": scores}], [], [labels]) == pytest.approx(1 / 3)
    assert METRICS["top5"].measure([{"y": scores}], [], [labels]) == 1
    with pytest.raises(UserError, match="as many"):
        METRICS["top1"].measure([{"y": scores}], [], [{"labels": np.array([1])}])


def test_cosine_and_mse_follow_the_float_model() -> None:
    reference = [{"y": np.array([3.0, 4.0])}]
    assert METRICS["cosine"].measure([{"y": np.array([6.0, 8.0])}], reference, [{}]) == pytest.approx(1)
    assert METRICS["cosine"].measure([{"y": np.array([-4.0, 3.0])}], reference, [{}]) == pytest.approx(0)
    assert METRICS["mse"].measure([{"y": np.array([3.0, 6.0])}], reference, [{}]) == pytest.approx(2)
    assert METRICS["mse"].drop(1.0, 3.0) == 2
    assert METRICS["cosine"].drop(1.0, 0.75) == 0.25


def test_a_metric_of_the_user_that_fails_is_theirs() -> None:
    with pytest.raises(UserError, match="metric 'os:getcwd' failed: TypeError"):
        find_metric("os:getcwd", [{}]).measure([{}], [{}], [{}])
    with pytest.raises(UserError, match="unknown metric 'q': it is one of cosine, map, mse, top1, top5"):
        find_metric("q", [{}])


def test_average_precision() -> None:
    measure = METRICS["map"].measure
    target = {"boxes": BOXES[:2], "labels": np.array([1, 1])}
    assert measure([detections(BOXES[:2], [0.9, 0.8], [1, 1])], [], [target]) == 1
    # A false box between the two true ones: precision 1 at a recall of a half, then 2/3.
    mixed = detections(BOXES[[0, 2, 1]], [0.9, 0.85, 0.8], [1, 1, 1])
    assert measure([mixed], [], [target]) == pytest.approx((1 + 2 / 3) / 2)
    # The same box twice is one hit only, and another class is no hit.
    twice = detections(BOXES[[0, 0]], [0.9, 0.8], [1, 1])
    assert measure([twice], [], [target]) == pytest.approx(0.5)
    assert measure([detections(BOXES[:2], [0.9, 0.8], [2, 2])], [], [target]) == 0
    with pytest.raises(UserError, match="no 'boxes'"):
        measure([{"y": BOXES}], [], [target])


def test_the_metric_is_chosen_by_the_targets() -> None:
    assert find_metric(None, [{"labels": np.array([1])}]).name == "top1"
    assert find_metric(None, [{}]).name == "cosine"
    assert find_metric(None, []).name == "cosine"
    with pytest.raises(UserError, match="unknown metric 'cosin' .did you mean 'cosine'"):
        find_metric("cosin", [])
