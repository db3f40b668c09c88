"""What a list of latencies says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Latencies of one contender, in seconds.

    Attributes:
        runs: how many were measured.
        throughput: runs per second over the whole time, one after another.
    """

    runs: int
    median: float
    p90: float
    p99: float
    mean: float
    minimum: float
    throughput: float


def summarize(seconds: Sequence[float]) -> Latency:
    """Return the statistics of latencies, percentiles interpolated. Raises ValueError when there are none."""
    if not seconds:
        raise ValueError("no latency was measured")
    samples = np.asarray(seconds, dtype=np.float64)
    median, p90, p99 = (float(each) for each in np.percentile(samples, (50, 90, 99)))
    mean = float(samples.mean())
    return Latency(len(samples), median, p90, p99, mean, float(samples.min()), 1 / mean)


@dataclass(frozen=True)
class Ratio:
    """How many times as long a peer takes as we do: over 1 we are faster.

    Attributes:
        median: peer's median latency over ours.
        low, high: the quartiles of that ratio over the turns, which show how sure it is.
    """

    median: float
    low: float
    high: float


def ratio_of(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> Ratio:
    """Compare two contenders measured in the same turns.

    Args:
        ours, theirs: one list of latencies in seconds for each turn; turn i of both was measured in succession, so
            that whatever else the machine did bore on both.
    """
    medians = [float(np.median(peer) / np.median(own)) for own, peer in zip(ours, theirs, strict=True)]
    whole = float(np.median(np.concatenate(theirs)) / np.median(np.concatenate(ours)))
    low, high = (float(each) for each in np.percentile(medians, (25, 75)))
    return Ratio(whole, low, high)
