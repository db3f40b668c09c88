"""Transposed convolution against torch in float64, on any geometry, groups, epilogue, machine and knobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from cpu_kernels import build, machines, template_named
from epilogues import assert_kernel_computes, epilogues
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import Array
from onnx import helper
from onnx_models import model_of, normal

import tilewright
from tilewright.runtime import load
from tilewright.schedules.template import NotApplicable
from tilewright.targets.target import Target
from tilewright.workload import TensorType, Workload, attributes

RULES = settings(max_examples=20, deadline=None, derandomize=True)
#: Of one axis: size, kernel, stride, dilation, results cropped in front and behind, results appended, results.
Axis = tuple[int, int, int, int, int, int, int, int]


@st.composite
def axes(draw: Any, largest: int) -> Axis:
    """Draw one spatial axis; it has at least one result."""
    size, kernel, stride = draw(st.integers(1, largest)), draw(st.integers(1, 6)), draw(st.integers(1, 5))
    dilation = draw(st.integers(1, 4)) if kernel > 1 else 1
    extra = draw(st.integers(0, max(stride, dilation) - 1))
    whole = (size - 1) * stride + (kernel - 1) * dilation + 1 + extra
    before = draw(st.integers(0, min(whole - 1, kernel)))
    after = draw(st.integers(0, min(whole - 1 - before, kernel)))
    return size, kernel, stride, dilation, before, after, extra, whole - before - after


def check(
    draw: Any,
    target: Target,
    batch: int,
    channels: tuple[int, int, int],
    rows: Axis,
    columns: Axis,
    name: str = "transposed_conv2d",
) -> None:
    """Draw an epilogue and knobs, let the template choose layouts, run the kernel; channels are (in, out, groups)."""
    (height, kh, sh, dh, top, bottom, eh, out_height), (width, kw, sw, dw, left, right, ew, out_width) = rows, columns
    in_channels, out_channels, groups = channels
    data = TensorType((batch, in_channels, height, width), "float32")
    weight = TensorType((in_channels, out_channels // groups, kh, kw), "float32")
    output = TensorType((batch, out_channels, out_height, out_width), "float32")
    attrs = {"strides": (sh, sw), "padding": (top, left, bottom, right), "dilation": (dh, dw), "groups": groups}
    epilogue = draw(epilogues(output.shape))
    work = Workload(
        "conv2d_transpose", (data, weight, *epilogue.operands), (output,), attributes(attrs), 2, epilogue.program
    )
    template = template_named(name, work, target)
    assert template.layouts is not None
    try:
        stored = template.layouts(work, target)
    except NotApplicable:
        assert out_channels % target.lanes()
        assert any(len(each.shape) == 3 and each.shape[0] == out_channels for each in work.inputs[2:])
        return

    def reference(x: Array, w: Array) -> Array:
        whole = torch.nn.functional.conv_transpose2d(
            torch.from_numpy(x), torch.from_numpy(w), stride=(sh, sw), dilation=(dh, dw), groups=groups
        )
        whole = torch.nn.functional.pad(whole, (0, ew, 0, eh))
        return whole[:, :, top : top + out_height, left : left + out_width].numpy()

    assert_kernel_computes(build(draw, template, stored, target), stored, target, reference)


@RULES
@given(st.data(), machines(), st.integers(1, 3), st.integers(1, 37), st.integers(1, 37), axes(7), axes(17))
def test_dense(data, target, batch, in_channels, out_channels, rows, columns):
    check(data.draw, target, batch, (in_channels, out_channels, 1), rows, columns)


@RULES
@given(st.data(), machines(), st.integers(1, 3), st.integers(9, 50), st.integers(1, 5), axes(7), axes(17))
def test_narrow(data, target, batch, in_channels, out_channels, rows, columns):
    """To a few channels, planar: lanes run along the input channels."""
    out_channels = min(out_channels, target.lanes() - 1)
    check(data.draw, target, batch, (in_channels, out_channels, 1), rows, columns, "narrow_transposed_conv2d")


@RULES
@given(st.data(), machines(), st.integers(1, 2), st.integers(1, 2), st.integers(2, 3), axes(4), axes(9))
def test_groups_of_whole_blocks(data, target, in_blocks, out_blocks, groups, rows, columns):
    lanes = target.lanes() * groups
    check(data.draw, target, 1, (in_blocks * lanes, out_blocks * lanes, groups), rows, columns)


@RULES
@given(st.data(), machines(), st.integers(1, 3), st.integers(2, 37), axes(7), axes(17))
def test_depthwise(data, target, batch, channels, rows, columns):
    check(data.draw, target, batch, (channels, channels, channels), rows, columns)


@pytest.mark.parametrize("groups", [1, 2, 4, 32])
def test_a_compiled_model_fuses_what_follows(groups: int, tmp_path: Path) -> None:
    """Two groups of 16 channels are whole blocks of any vector, those of eight are not: a right result without one."""
    x, weight, bias = normal(1, 32, 5, 9), normal(32, 32 // groups, 4, 3, seed=1), normal(32, seed=2)
    attrs = {"strides": [2, 3], "pads": [1, 0, 1, 1], "output_padding": [0, 1], "group": groups}
    nodes = [helper.make_node("ConvTranspose", ["x", "w", "b"], ["h"], **attrs), helper.make_node("Relu", ["h"], ["y"])]
    model = model_of(nodes, {"x": x}, {"w": weight, "b": bias}).SerializeToString()
    (tmp_path / "model.onnx").write_bytes(model)
    tilewright.compile(tmp_path / "model.onnx").save(tmp_path / "model.so")
    (result,) = load(tmp_path / "model.so")(x)
    (expected,) = onnxruntime.InferenceSession(model).run(None, {"x": x})
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
