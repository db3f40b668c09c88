"""Where the time of a compiled library goes: each step beside the least time this machine could need for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...runtime import load
from ...runtime.model import StepTime
from ..tensors import make_tensors
from .ceiling import Ceiling, measure_ceiling


@dataclass(frozen=True)
class ProfiledStep:
    """One step of the plan.

    Attributes:
        index: its place in the plan.
        name: the operators it computes.
        kernel: the kernel's symbol.
        seconds: the median over all runs.
        share: its part of the time of all steps.
        flops: floating-point operations of one run, 0 where they are not counted.
        bytes: bytes of its operands.
        ceiling: the least time this machine could need for it over the time it took; 0 where nothing is counted.
        bound: the nearer ceiling, "compute" or "memory"; "" where nothing is counted.
    """

    index: int
    name: str
    kernel: str
    seconds: float
    share: float
    flops: float
    bytes: float
    ceiling: float
    bound: str


@dataclass(frozen=True)
class Profile:
    """A profile of a library.

    Attributes:
        name: the model.
        runs: how many runs the medians are of.
        seconds: the sum of the steps' medians.
        steps: heaviest first.
        ceiling: what the machine can do with the same number of threads.
    """

    name: str
    runs: int
    seconds: float
    steps: tuple[ProfiledStep, ...]
    ceiling: Ceiling


def profile(library: Path, *, runs: int, threads: int, seed: int = 0) -> Profile:
    """Profile a library on random inputs.

    Args:
        runs: how many runs to take medians of.
        threads: 0 for every processor.

    Raises:
        UserError: the library cannot be loaded here, or there is no C compiler to measure the machine with.
    """
    with load(library, threads=threads) as model:
        steps = model.profile(make_tensors(model.inputs, seed=seed), repeat=runs)
        return judge(model.name, runs, steps, measure_ceiling(model.threads))


def judge(name: str, runs: int, steps: Sequence[StepTime], ceiling: Ceiling) -> Profile:
    """Return steps, in the plan's order, as shares of the whole and parts of the ceiling, heaviest first."""
    total = sum(step.seconds for step in steps)
    rows = [_judge_step(index, step, total, ceiling) for index, step in enumerate(steps)]
    return Profile(name, runs, total, tuple(sorted(rows, key=lambda row: (-row.seconds, row.index))), ceiling)


def _judge_step(index: int, step: StepTime, total: float, ceiling: Ceiling) -> ProfiledStep:
    counted = step.flops > 0 or step.bytes > 0
    least = ceiling.seconds(step.flops, step.bytes) if counted else 0.0
    return ProfiledStep(
        index,
        step.name,
        step.kernel,
        step.seconds,
        step.seconds / total if total else 0.0,
        step.flops,
        step.bytes,
        least / step.seconds if step.seconds else 0.0,
        ceiling.bound(step.flops, step.bytes) if counted else "",
    )
