"""Accuracy-aware quantization: layers go back to floats, those that cost most first, until a bound holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from ..data import Sample
from ..executor import Array, Executor
from .preparation import Prepared

_SENSITIVITY_SAMPLES = 16


@dataclass(frozen=True)
class Step:
    """One trial.

    Attributes:
        floats: how many layers were floats.
        figure: the metric.
        drop: by how much it is worse than the float model's.
    """

    floats: int
    figure: float
    drop: float


@dataclass(frozen=True)
class Search:
    """What the search found.

    Attributes:
        reverted: layers that must stay floats, the costliest first, each with the error of the outputs that it causes
            alone (relative, in square).
        steps: the trials, in order.
        met: whether the bound holds.
    """

    reverted: tuple[tuple[str, float], ...]
    steps: tuple[Step, ...]
    met: bool


def sensitivities(prepared: Prepared, samples: Sequence[Sample]) -> list[tuple[str, float]]:
    """Return every layer with the error of the outputs, relative and in square, when it alone is quantized.

    The costliest comes first.
    """
    few = samples[:_SENSITIVITY_SAMPLES]
    exact = Executor(prepared.model)
    references = [exact(sample.inputs) for sample in few]
    found = []
    for name in prepared.layers:
        others = [each for each in prepared.layers if each != name]
        run = Executor(prepared.quantized(others))
        errors = [
            _relative_square(run(sample.inputs), reference) for sample, reference in zip(few, references, strict=True)
        ]
        found.append((name, float(np.mean(errors))))
    return sorted(found, key=lambda pair: -pair[1])


def _relative_square(outputs: dict[str, Array], reference: dict[str, Array]) -> float:
    errors = []
    for name, exact in reference.items():
        if exact.dtype.kind == "f":
            power = float(np.mean(np.square(exact.astype(np.float64))))
            noise = float(np.mean(np.square(outputs[name].astype(np.float64) - exact)))
            errors.append(noise / power if power else noise)
    return float(np.mean(errors)) if errors else 0.0


def search(
    ranking: Sequence[tuple[str, float]],
    build: Callable[[Collection[str]], ModelProto],
    judge: Callable[[ModelProto], tuple[float, float]],
    bound: float,
) -> Search:
    """Find the fewest layers of the ranking's front that must be floats for a bound to hold; one stays quantized.

    The number doubles until the bound holds and is then halved in between, so that a model of n layers takes about
    2 log2(n) trials; what is returned was itself measured.

    Args:
        build: makes the model in which some layers are floats.
        judge: measures a model: its figure, and by how much it is worse than the float model's.
        bound: the largest drop allowed.
    """
    steps: dict[int, Step] = {}

    def holds(count: int) -> bool:
        if count not in steps:
            steps[count] = Step(count, *judge(build([name for name, _ in ranking[:count]])))
        return steps[count].drop <= bound

    if holds(0):
        return Search((), tuple(steps.values()), True)
    low, high, most = 0, 1, len(ranking) - 1
    while high < most and not holds(high):
        low, high = high, high * 2
    high = min(high, most)
    if not holds(high):
        best = min(steps.values(), key=lambda step: (step.drop, step.floats))
        return Search(tuple(ranking[: best.floats]), tuple(steps.values()), False)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return Search(tuple(ranking[:high]), tuple(steps.values()), True)
