from __future__ import annotations

import numpy as np
import pytest

from tilewright.compiler.measure.statistics import ratio_of, summarize


def test_percentiles_are_numpys() -> None:
    seconds = np.random.default_rng(0).exponential(1e-3, 501)
    latency = summarize(list(seconds))
    assert latency.runs == 501
    assert latency.median == pytest.approx(np.median(seconds))
    assert latency.p90 == pytest.approx(np.percentile(seconds, 90))
    assert latency.p99 == pytest.approx(np.percentile(seconds, 99))
    assert latency.minimum == seconds.min()
    assert latency.throughput == pytest.approx(501 / seconds.sum())


def test_one_run_is_its_own_statistics() -> None:
    latency = summarize([0.25])
    assert (latency.median, latency.p90, latency.p99, latency.mean, latency.throughput) == (0.25, 0.25, 0.25, 0.25, 4.0)


def test_no_run_is_an_error() -> None:
    with pytest.raises(ValueError, match="no latency"):
        summarize([])


def test_a_ratio_over_one_means_that_we_are_faster() -> None:
    ratio = ratio_of([[1.0, 1.0], [2.0], [1.0]], [[2.0], [4.0, 4.0], [3.0]])
    assert ratio.median == pytest.approx(3.5)
    assert (ratio.low, ratio.high) == (2.0, 2.5)


def test_a_disturbance_that_bears_on_both_leaves_the_quartiles_alone() -> None:
    ours = [[1.0], [1.0], [10.0], [1.0]]
    theirs = [[1.5], [1.5], [15.0], [1.5]]
    ratio = ratio_of(ours, theirs)
    assert (ratio.low, ratio.median, ratio.high) == (1.5, 1.5, 1.5)
