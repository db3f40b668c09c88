"""Resize against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import check_node, normal, operator_names

MODES = ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")


@settings(max_examples=16, deadline=None)
@given(
    st.sampled_from(["nearest", "linear", "cubic"]), st.sampled_from(MODES),
    st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
    st.tuples(st.integers(2, 9), st.integers(2, 9)),
)  # fmt: skip
def test_to_sizes(mode: str, coordinates: str, nearest: str, size: tuple[int, int]) -> None:
    constants = {"sizes": np.array([1, 2, *size], np.int64)}
    check_node(
        "Resize", {"x": normal(1, 2, 5, 4)}, constants, order=["x", "", "", "sizes"], atol=1e-5,
        mode=mode, coordinate_transformation_mode=coordinates, nearest_mode=nearest,
    )  # fmt: skip


@pytest.mark.parametrize("scales", [(2.0, 2.0), (1.5, 0.7), (0.6, 3.0)])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_by_scales(scales: tuple[float, float], mode: str) -> None:
    constants = {"scales": np.array([1, 1, *scales], np.float32)}
    check_node("Resize", {"x": normal(1, 2, 5, 4)}, constants, order=["x", "", "scales"], atol=1e-5, mode=mode)


@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "cubic", "exclude_outside": 1},
        {"mode": "cubic", "cubic_coeff_a": -0.5},
        {"mode": "linear", "antialias": 1},
        {"mode": "cubic", "antialias": 1, "exclude_outside": 1},
    ],
)
def test_kernels(attributes: dict[str, Any]) -> None:
    constants = {"scales": np.array([1, 1, 0.45, 0.6], np.float32)}
    order = ["x", "", "scales"]
    check_node("Resize", {"x": normal(1, 1, 9, 8)}, constants, order=order, opset=18, atol=1e-5, **attributes)


def test_crop_fills_what_lies_outside() -> None:
    constants = {
        "roi": np.array([0, 0, 0.2, -0.3, 1, 1, 0.8, 1.2], np.float32),
        "sizes": np.array([1, 1, 3, 7], np.int64),
    }
    check_node(
        "Resize", {"x": normal(1, 1, 5, 6)}, constants, order=["x", "roi", "", "sizes"], atol=1e-5,
        mode="linear", coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=9.0,
    )  # fmt: skip


def test_upsample_and_resize_before_opset_11() -> None:
    scales = {"scales": np.array([1, 1, 2, 3], np.float32)}
    for mode in ("nearest", "linear"):
        check_node("Upsample", {"x": normal(1, 2, 3, 4)}, scales, opset=9, mode=mode)
        check_node("Resize", {"x": normal(1, 2, 3, 4)}, scales, opset=10, mode=mode)
    check_node("Upsample", {"x": normal(1, 2, 3, 4)}, opset=7, scales=[1.0, 1.0, 2.0, 2.0])


def test_doubling_by_nearest_neighbours_only_gathers() -> None:
    constants = {"scales": np.array([1, 1, 2, 2], np.float32)}
    imported = check_node("Resize", {"x": normal(1, 2, 3, 4)}, constants, order=["x", "", "scales"])
    assert operator_names(imported) == ["take", "take"]
