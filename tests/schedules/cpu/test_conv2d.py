"""Direct and depthwise convolution against torch in float64, on any geometry, epilogue, machine and knobs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from convolutions import axes, convolution, reference
from cpu_kernels import build, machines, template_named
from epilogues import Epilogue, assert_kernel_computes, epilogues
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.schedules.cpu.winograd import winograd_layouts
from tilewright.schedules.template import NotApplicable
from tilewright.targets.target import Target
from tilewright.workload import Workload, attributes

RULES = settings(max_examples=20, deadline=None, derandomize=True)


def workload(parts: Any, epilogue: Epilogue) -> Workload:
    operands, output, attrs = parts
    return Workload("conv2d", (*operands, *epilogue.operands), (output,), attributes(attrs), 2, epilogue.program)


def check(draw: Any, name: str, parts: Any, target: Target) -> None:
    """Draw an epilogue and knobs, let the template choose layouts, and run the kernel."""
    work = workload(parts, draw(epilogues(parts[1].shape)))
    template = template_named(name, work, target)
    assert template.layouts is not None
    try:
        stored = template.layouts(work, target)
    except NotApplicable:
        channels = parts[1].shape[1]
        assert channels % target.lanes()
        assert any(len(each.shape) == 3 and each.shape[0] == channels for each in work.inputs[2:])
        return
    assert_kernel_computes(build(draw, template, stored, target), stored, target, reference(stored))


@RULES
@given(st.data(), machines(), st.integers(1, 3), st.integers(9, 50), st.integers(1, 3), axes(8), axes(19))
def test_narrow(data, target, batch, in_channels, out_channels, rows, columns):
    """To a few channels, planar: lanes run along the input channels."""
    parts = convolution(batch, (in_channels, out_channels, 1), rows, columns)
    check(data.draw, "narrow_conv2d", parts, target)


@RULES
@given(st.data(), machines(), st.integers(1, 3), st.integers(1, 37), st.integers(1, 37), axes(9), axes(15))
def test_direct(data, target, batch, in_channels, out_channels, rows, columns):
    check(data.draw, "direct_conv2d", convolution(batch, (in_channels, out_channels, 1), rows, columns), target)


@RULES
@given(st.data(), machines(), st.integers(1, 2), st.integers(1, 2), st.integers(2, 3), axes(6), axes(9))
def test_groups_of_whole_blocks(data, target, in_blocks, out_blocks, groups, rows, columns):
    lanes = target.lanes() * groups
    channels = (in_blocks * lanes, out_blocks * lanes, groups)
    check(data.draw, "direct_conv2d", convolution(1, channels, rows, columns), target)


@RULES
@given(
    st.data(),
    machines(),
    st.integers(1, 2),
    st.integers(1, 33),
    st.integers(1, 53),
    st.integers(1, 7),
    st.integers(1, 31),
)
def test_pointwise_over_all_pixels(data, target, batch, in_channels, out_channels, height, width):
    """Rows are merged, whether their pixels divide by a tile or are a prime."""
    rows, columns = (height, 1, 1, 1, 0, 0), (width, 1, 1, 1, 0, 0)
    check(data.draw, "direct_conv2d", convolution(batch, (in_channels, out_channels, 1), rows, columns), target)


@RULES
@given(st.data(), machines(), st.integers(1, 3), st.integers(2, 37), axes(9), axes(15))
def test_depthwise(data, target, batch, channels, rows, columns):
    check(data.draw, "depthwise_conv2d", convolution(batch, (channels, channels, channels), rows, columns), target)


@RULES
@given(st.data(), machines(), st.sampled_from((2, 4)), st.integers(1, 2), st.integers(1, 37), st.integers(1, 37))
def test_winograd(data, target, tile, batch, in_channels, out_channels):
    """Both tile sizes on any image and padding; the transforms' rounding is allowed for."""
    rows, columns = (
        (data.draw(st.integers(max(1, 3 - sum(pads)), 13)), 3, 1, 1, *pads)
        for pads in data.draw(st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2))
    )
    parts = convolution(batch, (in_channels, out_channels, 1), rows, columns)
    parts[2]["constant_weight"] = True
    work = workload(parts, data.draw(epilogues(parts[1].shape)))
    try:
        stored = winograd_layouts(work, target, tile)
    except NotApplicable:
        assert out_channels % target.lanes()
        return
    kernel = build(data.draw, template_named("winograd_conv2d", work, target), stored, target)
    assert_kernel_computes(kernel, stored, target, reference(stored), tolerance=2e-5)


@RULES
@given(st.data(), machines(), st.integers(1, 3), st.integers(2, 37), axes(6), axes(19))
def test_depthwise_by_tiles_of_two_rows(data, target, batch, channels, rows, columns):
    """As for ARM, whose multiply-adds by lane choose these tiles; they need no such instruction."""
    target = replace(target, features=target.features | {"asimd"})
    check(data.draw, "depthwise_conv2d", convolution(batch, (channels, channels, channels), rows, columns), target)
