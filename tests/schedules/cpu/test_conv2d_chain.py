"""Chains of convolutions against torch in float64, on any geometry, activation and machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from convolutions import axes, convolution, reference
from cpu_kernels import LEVELS, build, machines, template_named
from epilogues import evaluate, exact_array
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import Array, run_workload
from workloads import step

from tilewright.conv_chain import chain_of, places_of, stages_of
from tilewright.knobs import Knobs
from tilewright.schedules.template import NotApplicable
from tilewright.targets.target import Target
from tilewright.workload import PointwiseProgram, TensorType, Workload, attributes

RULES = settings(max_examples=40, deadline=None, derandomize=True)
POINTWISE = (1, 1, 1, 0, 0)
#: Programs whose results differ by no more than three times what their first operand differs by.
ACTIVATIONS = {
    "none": None,
    "bias": PointwiseProgram(2, (step("add", 0, 1),)),
    "relu": PointwiseProgram(1, (step("nn.relu", 0),)),
    "relu6": PointwiseProgram(2, (step("add", 0, 1), step("clip", 2, min=0.0, max=6.0))),
    "silu": PointwiseProgram(2, (step("add", 0, 1), step("sigmoid", 2), step("multiply", 2, 3))),
    "hard swish": PointwiseProgram(
        1,
        (
            step("const", value=3.0), step("add", 0, 1), step("clip", 2, min=0.0, max=6.0), step("multiply", 0, 3),
            step("const", value=1 / 6), step("multiply", 4, 5),
        ),
    ),
}  # fmt: skip


@st.composite
def stage(
    draw: Any, data: TensorType, out_channels: int, groups: int, rows: tuple[int, ...], columns: tuple[int, ...]
) -> Workload:
    """Draw the activation of a convolution of ``data``; rows and columns are (kernel, stride, dilation, pads)."""
    (_, weight), output, attrs = convolution(
        data.shape[0], (data.shape[1], out_channels, groups), (data.shape[2], *rows), (data.shape[3], *columns)
    )
    program = ACTIVATIONS[draw(st.sampled_from(sorted(ACTIVATIONS)))]
    shapes = ((1, out_channels, 1, 1), output.shape, (1, 1), (1, out_channels, 1, 1))
    other = [TensorType(draw(st.sampled_from(shapes)), "float32")] if program and program.operands > 1 else []
    return Workload("conv2d", (data, weight, *other), (output,), attributes(attrs), 2, program)


@st.composite
def chains(draw: Any) -> Workload:
    """Draw two or three stages; those of no pixel are not drawn."""
    expands, projects = draw(st.sampled_from(((True, True), (True, False), (False, True))))
    batch, channels, hidden = draw(st.integers(1, 3)), draw(st.integers(1, 37)), draw(st.integers(2, 70))
    height, *rows = draw(axes(11))
    width, *columns = draw(axes(30))
    stages: list[Workload] = []
    data = TensorType((batch, channels if expands else hidden, height, width), "float32")
    if expands:
        kernel = draw(st.sampled_from((POINTWISE, POINTWISE, (3, 1, 1, 1, 1))))
        stages.append(draw(stage(data, hidden, 1, kernel, kernel)))
        data = stages[-1].output
    stages.append(draw(stage(data, hidden, hidden, tuple(rows), tuple(columns))))
    if projects:
        stages.append(draw(stage(stages[-1].output, draw(st.integers(1, 37)), 1, POINTWISE, POINTWISE)))
    return chain_of(stages)


def expected(work: Workload, arrays: list[Array]) -> tuple[Array, float]:
    """Return the chain in float64, and a bound of the error of float32 sums: each stage passes on what it was given."""
    data, error = arrays[0].astype("float64"), 0.0
    for part, place in zip(stages_of(work), places_of(work), strict=True):
        weight, *others = (arrays[each].astype("float64") for each in place)
        summed = reference(part)(data, weight)
        data, magnitude = evaluate(part.epilogue, summed, others)
        passed_on = error * float(np.abs(weight).sum(axis=(1, 2, 3)).max())
        error = 3 * (passed_on + 1e-6 * max(1.0, magnitude))
    return data, error


def check(work: Workload, stored: Workload, kernel: Any, target: Target) -> None:
    arrays = [exact_array(each.shape, seed) for seed, each in enumerate(work.inputs)]
    (result,) = run_workload(kernel, stored, arrays, target)
    wanted, error = expected(work, arrays)
    np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=error)


@RULES
@given(st.data(), machines(), chains())
def test_any_chain(data, target, work):
    template = template_named("conv2d_chain", work, target)
    assert template.layouts is not None
    try:
        stored = template.layouts(work, target)
    except NotApplicable:
        first, *later = stages_of(work)
        reducible = first.inputs[1].shape[2:] == (3, 3) and not _depthwise(first)
        few = any(2 * part.inputs[0].shape[1] <= target.lanes() for part in later)
        assert reducible or few or any(part.output.shape[1] % target.lanes() for part in (first, *later))
        return
    check(work, stored, build(data.draw, template, stored, target), target)


def _depthwise(part: Workload) -> bool:
    return bool(part.attr("groups") == part.inputs[1].shape[0] > 1)


def block(
    channels: int, hidden: int, out_channels: int, size: int, kernel: int = 3, stride: int = 1, planar: bool = False
) -> Workload:
    """An inverted residual block, bias and relu6 in every stage; or one behind a stem of 3 x 3 by 2."""

    def part(data: TensorType, out: int, groups: int, taps: int, step_size: int) -> Workload:
        axis = (taps, step_size, 1, taps // 2, taps // 2)
        operands, output, attrs = convolution(
            1, (data.shape[1], out, groups), (data.shape[2], *axis), (data.shape[3], *axis)
        )
        bias = TensorType((1, out, 1, 1), "float32")
        return Workload("conv2d", (data, operands[1], bias), (output,), attributes(attrs), 2, ACTIVATIONS["relu6"])

    data = TensorType((1, channels, size, size), "float32")
    expand = part(data, hidden, 1, *((3, 2) if planar else (1, 1)))
    middle = part(expand.output, hidden, hidden, kernel, stride)
    return chain_of([expand, middle, part(middle.output, out_channels, 1, 1, 1)])


def test_bands_parts_and_rings_that_wrap_around():
    """Images of many bands for each thread, by 1 and by 2, a stem of planar data, another band than the default."""
    (*_, widest) = LEVELS
    target = replace(widest, facts=replace(widest.facts, cores=2))
    for work in (block(24, 32, 16, 22), block(16, 33, 9, 21, 5, stride=2), block(3, 16, 16, 33, planar=True)):
        template = template_named("conv2d_chain", work, target)
        assert template.layouts is not None
        stored = template.layouts(work, target)
        check(work, stored, template.build(stored, target, Knobs({"band": 2})), target)
