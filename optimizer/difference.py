"""How far tensors of a changed model lie from those of the original, over samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from .data import Sample
from .executor import Executor

Array = NDArray[Any]


@dataclass
class Difference:
    """Sums over samples for one tensor.

    Attributes:
        signal, noise: sums of squares of the original and of the error.
        product, other: sums of products of both, and of squares of the changed one.
        largest: the largest absolute error.
        peak: the largest magnitude of the original.
    """

    signal: float = 0.0
    noise: float = 0.0
    product: float = 0.0
    other: float = 0.0
    largest: float = 0.0
    peak: float = 0.0

    def see(self, original: Array, changed: Array) -> None:
        """Take one sample into account; a different shape is an infinite error."""
        if original.shape != changed.shape:
            self.noise = self.largest = math.inf
            return
        a, b = original.astype(np.float64).ravel(), changed.astype(np.float64).ravel()
        error = np.nan_to_num(b - a, nan=np.inf)
        self.signal += float(a @ a)
        self.noise += float(error @ error)
        self.product += float(a @ b)
        self.other += float(b @ b)
        self.largest = max(self.largest, float(np.abs(error).max(initial=0.0)))
        self.peak = max(self.peak, float(np.abs(a).max(initial=0.0)))

    @property
    def sqnr(self) -> float:
        """The ratio of signal to quantization noise, in decibels; infinite where nothing differs."""
        if not self.noise:
            return math.inf
        return -math.inf if not self.signal or math.isinf(self.noise) else 10 * math.log10(self.signal / self.noise)

    @property
    def cosine(self) -> float:
        """The cosine of the angle between both."""
        norm = math.sqrt(self.signal) * math.sqrt(self.other)
        return self.product / norm if norm else float(self.noise == 0)


def differences(
    original: ModelProto, changed: ModelProto, pairs: Mapping[str, str], samples: Sequence[Sample]
) -> dict[str, Difference]:
    """Run both models and compare tensors.

    Args:
        pairs: names of tensors of the original to names in the changed model.

    Returns:
        The difference of every pair whose tensors are numbers, by the original's name.
    """
    one = Executor(original, list(pairs), "the original model")
    other = Executor(changed, list(pairs.values()), "the changed model")
    found = {name: Difference() for name in pairs}
    for sample in samples:
        ours, theirs = one(sample.inputs), other(sample.inputs)
        for name, counterpart in pairs.items():
            if ours[name].dtype.kind in "fiub":
                found[name].see(ours[name], theirs[counterpart])
    return found
