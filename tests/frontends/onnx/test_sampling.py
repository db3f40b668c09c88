"""Operators that sample data at computed places, against onnxruntime and onnx's reference."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx_models import check_node, check_reference, import_model, model_of, normal
from relax_runner import run_module


def _grid(*shape: int) -> np.ndarray:
    """Return places inside and outside the data, some by far."""
    return np.random.default_rng(3).uniform(-1.8, 1.8, shape).astype(np.float32)


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [0, 1])
def test_grid_sample(mode: str, padding: str, align_corners: int) -> None:
    inputs = {"x": normal(2, 3, 5, 7), "g": _grid(2, 4, 6, 2)}
    check_node("GridSample", inputs, opset=20, mode=mode, padding_mode=padding, align_corners=align_corners, atol=1e-5)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_grid_sample_of_volumes(mode: str) -> None:
    inputs = {"x": normal(1, 2, 3, 4, 5), "g": _grid(1, 2, 3, 4, 3)}
    check_node("GridSample", inputs, opset=20, mode=mode, padding_mode="border", atol=1e-5)


def test_grid_sample_of_opset_16() -> None:
    check_node("GridSample", {"x": normal(1, 2, 4, 4), "g": _grid(1, 3, 3, 2)}, opset=16, mode="bicubic", atol=1e-5)


def test_places_far_outside_are_zero() -> None:
    grid = np.array([[np.inf, -np.inf], [1e30, 0], [0, -1e9]], np.float32).reshape(1, 1, 3, 2)
    node = helper.make_node("GridSample", ["x", "g"], ["y"], mode="nearest")
    inputs = {"x": normal(1, 2, 4, 4), "g": grid}
    (result,) = run_module(import_model(model_of([node], inputs, opset=20)).module, list(inputs.values()))
    assert result.shape == (1, 2, 1, 3)
    assert not result.any()


@pytest.mark.parametrize("align_corners", [0, 1])
@pytest.mark.parametrize("size", [[2, 3, 4, 5], [1, 2, 3, 4, 2]])
def test_affine_grid(align_corners: int, size: list[int]) -> None:
    rank = len(size) - 2
    theta = {"t": normal(size[0], rank, rank + 1)}
    check_node("AffineGrid", theta, {"s": np.array(size)}, opset=20, align_corners=align_corners)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("masked", [True, False])
def test_deform_conv(groups: int, masked: bool) -> None:
    inputs = {"x": normal(2, 4, 6, 5), "w": normal(6, 4 // groups, 3, 2, seed=1), "o": normal(2, 24, 3, 6, seed=2)}
    if masked:
        inputs |= {"b": normal(6, seed=3), "m": normal(2, 12, 3, 6, seed=4)}
    check_node("DeformConv", inputs, opset=22, group=groups, offset_group=2, strides=[2, 1], pads=[1, 2, 1, 1],
               dilations=[1, 2], atol=1e-4)  # fmt: skip


def test_col2im() -> None:
    data = {"x": normal(2, 12, 6)}
    attributes = {"strides": [2, 1], "pads": [1, 0, 0, 1], "dilations": [1, 2]}
    check_node("Col2Im", data, {"i": np.array([6, 5]), "b": np.array([2, 3])}, opset=18, **attributes)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("where", ["half_pixel", "output_half_pixel"])
def test_roi_align(mode: str, ratio: int, where: str) -> None:
    rois = np.array([[0, 0, 5, 5], [2, 1, 9, 7], [-3, 2, 30, 4], [4, 4, 4, 4]], np.float32)
    inputs = {"x": normal(2, 3, 9, 11), "r": rois, "b": np.array([0, 1, 1, 0])}
    check_node("RoiAlign", inputs, output_height=2, output_width=3, spatial_scale=0.7, sampling_ratio=ratio, mode=mode,
               coordinate_transformation_mode=where, atol=1e-5)  # fmt: skip


def test_max_roi_pool() -> None:
    rois = np.array([[0, 0, 0, 5, 5], [1, 2, 1, 9, 7], [1, -3, 2, 30, 4]], np.float32)
    check_node("MaxRoiPool", {"x": normal(2, 3, 9, 11), "r": rois}, pooled_shape=[2, 3], spatial_scale=0.9)


def test_tensor_scatter() -> None:
    inputs = {"c": normal(2, 3, 5, 4), "u": normal(2, 3, 2, 4, seed=1), "w": np.array([1, 4])}
    check_reference("TensorScatter", inputs, opset=24, mode="circular")
    inputs["w"] = np.array([0, 3])
    check_reference("TensorScatter", inputs, opset=24)
    check_reference("TensorScatter", {"c": normal(2, 5), "u": normal(2, 3)}, opset=24, axis=-1)
