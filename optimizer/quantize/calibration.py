"""Calibration: the range of every tensor, from samples, as one of several observers sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from ...errors import UserError
from ...registry import Registry
from ..data import Sample
from ..executor import Executor

Array = NDArray[Any]
Range = tuple[float, float]
#: From the counts and edges of a histogram to the range that 8 bits should span.
Clip = Callable[[Array, Array], Range]

#: Observers by name; ``None`` keeps the smallest and largest value.
OBSERVERS: Registry[Clip | None] = Registry("calibration method")
OBSERVERS.add("minmax", None)

_BINS = 2048
_PERCENTILE = 99.99
_LEVELS = 256


@dataclass
class Statistics:
    """What samples show of one tensor.

    Attributes:
        low, high: the smallest and largest value.
        channel_sum, channel_count: sums over all axes but the channels', and how many elements each adds up.
        channel_peak: the largest magnitude of each channel.
        channel_power: the sum of squares of each channel.
        counts: a histogram from low to high, where one was asked for.
    """

    axis: int
    low: float = np.inf
    high: float = -np.inf
    channel_sum: Array | None = None
    channel_count: int = 0
    channel_peak: Array | None = None
    channel_power: Array | None = None
    counts: Array = field(default_factory=lambda: np.zeros(_BINS))

    @property
    def channel_mean(self) -> Array | None:
        """The mean of each channel."""
        return None if self.channel_sum is None else self.channel_sum / self.channel_count

    @property
    def edges(self) -> Array:
        """The edges of the histogram's bins."""
        return np.linspace(self.low, self.high if self.high > self.low else self.low + 1.0, _BINS + 1)

    def see(self, values: Array) -> None:
        """Take a tensor of one sample into account."""
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        if values.ndim < 2:
            return
        rows = np.moveaxis(values, self.axis, -1).reshape(-1, values.shape[self.axis])
        peak, total = np.abs(rows).max(axis=0), rows.sum(axis=0, dtype=np.float64)
        power = np.einsum("rc,rc->c", rows, rows, dtype=np.float64)
        if self.channel_sum is None or self.channel_peak is None:
            self.channel_sum, self.channel_peak, self.channel_power = total, peak, power
        elif len(total) == len(self.channel_sum):
            self.channel_sum, self.channel_peak = self.channel_sum + total, np.maximum(self.channel_peak, peak)
            self.channel_power = self.channel_power + power
        self.channel_count += len(rows)


def observe(
    model: ModelProto, tensors: dict[str, int], samples: Sequence[Sample], observer: str = "minmax"
) -> tuple[dict[str, Statistics], dict[str, Range]]:
    """Run the float model on samples; return the statistics and the range of every tensor.

    Args:
        tensors: the axis of the channels by tensor name.
        observer: a row of ``OBSERVERS``; all but minmax take a second run for their histograms.

    Raises:
        UserError: an unknown observer, or a tensor that is NaN or infinite for a sample.
    """
    clip = OBSERVERS[observer]
    found = {name: Statistics(axis) for name, axis in tensors.items()}
    run = Executor(model, list(tensors))
    for sample in samples:
        for name, values in run(sample.inputs).items():
            if values.size and not np.isfinite(values).all():
                raise UserError(f"tensor '{name}' is NaN or infinite for {sample.source}: no range can be found")
            if values.size:
                found[name].see(values)
    if clip is None:
        return found, {name: (each.low, each.high) for name, each in found.items() if each.low <= each.high}
    for sample in samples:
        for name, values in run(sample.inputs).items():
            found[name].counts += np.histogram(values, found[name].edges)[0]
    return found, {name: clip(each.counts, each.edges) for name, each in found.items() if each.low <= each.high}


@OBSERVERS.register("percentile")
def _percentile(counts: Array, edges: Array) -> Range:
    """The range that holds 99.99 % of the values, half of the rest on either side."""
    share = np.cumsum(counts) / counts.sum()
    tail = (1 - _PERCENTILE / 100) / 2
    first = int(np.searchsorted(share, tail))
    last = int(np.searchsorted(share, 1 - tail))
    return float(edges[first]), float(edges[min(last + 1, len(edges) - 1)])


@OBSERVERS.register("entropy")
def _entropy(counts: Array, edges: Array) -> Range:
    """The range whose 256 levels keep most of the distribution (least Kullback-Leibler divergence).

    Candidates cut both tails so that they hold equal shares of the values; what lies beyond counts at the border.
    """
    total = counts.sum()
    below, above = np.cumsum(counts) / total, np.cumsum(counts[::-1]) / total
    best, chosen = np.inf, (0, len(counts))
    candidates = {(0, len(counts))}
    for tail in np.geomspace(1e-6, 2e-2, 48):
        first, last = int(np.searchsorted(below, tail)), len(counts) - int(np.searchsorted(above, tail))
        if last - first >= _LEVELS // 2:
            candidates.add((first, last))
    for first, last in sorted(candidates):
        divergence = _divergence(counts, first, last)
        if divergence < best:
            best, chosen = divergence, (first, last)
    return float(edges[chosen[0]]), float(edges[chosen[1]])


def _divergence(counts: Array, first: int, last: int) -> float:
    reference = counts[first:last].astype(np.float64)
    levels = np.minimum(np.arange(len(reference)) * _LEVELS // len(reference), _LEVELS - 1)
    filled = reference > 0
    sums = np.bincount(levels, reference, _LEVELS)
    present = np.bincount(levels, filled, _LEVELS)
    coarse = np.where(filled, (sums / np.maximum(present, 1))[levels], 0.0)
    reference[0] += counts[:first].sum()
    reference[-1] += counts[last:].sum()
    p, q = reference / reference.sum(), coarse / max(coarse.sum(), 1e-30)
    mask = p > 0
    return float(np.sum(p[mask] * np.log(p[mask] / np.maximum(q[mask], 1e-12))))
