"""Conversions to bytes and back disappear where, and only where, they change nothing."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_runner import run_workload, runnable_targets
from workloads import step, tensor, workload

from tilewright.passes.fusion.round_trips import without_round_trips
from tilewright.schedules.template import build_kernel
from tilewright.workload import PointwiseProgram, PointwiseStep


def _operators(program: PointwiseProgram) -> list[str]:
    return [each.op for each in program.steps]


def _trip(limit: float, *before: PointwiseStep) -> PointwiseProgram:
    count = len(before)
    return PointwiseProgram(
        1,
        (
            *before,
            step("clip", count, min=0.0, max=limit),
            step("astype", count + 1, dtype="uint8"),
            step("astype", count + 2, dtype="float32"),
            step("multiply", count + 3, count + 3),
        ),
    )


def test_whole_numbers_in_range_stay_floats() -> None:
    shifted = (step("const", value=3.0), step("round", 0), step("add", 2, 1))
    program = without_round_trips(_trip(255.0, *shifted))
    assert _operators(program) == ["const", "round", "add", "clip", "multiply"]
    assert program.steps[-1].args == (4, 4)


@pytest.mark.parametrize(
    "program",
    [
        _trip(255.0, step("abs", 0)),  # not whole
        _trip(300.0, step("round", 0)),  # out of range
        _trip(255.0, step("const", value=0.5), step("round", 0), step("add", 2, 1)),
    ],
)
def test_roundings_that_matter_stay(program: PointwiseProgram) -> None:
    assert without_round_trips(program) == program


def test_results_are_equal() -> None:
    program = _trip(255.0, step("const", value=7.0), step("round", 0), step("add", 2, 1))
    x = (np.random.default_rng(0).standard_normal(1000) * 150).astype(np.float32)
    expected = np.clip(np.rint(x) + 7, 0, 255) ** 2
    target = runnable_targets()[-1]
    for each in (program, without_round_trips(program)):
        work = workload("pointwise", [tensor(1000)], tensor(1000), 0, each)
        (found,) = run_workload(build_kernel(work, target), work, [x], target)
        np.testing.assert_array_equal(found, expected)
