"""Convolution rows against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import check_node, normal, operator_names

ATOL = 1e-4


@st.composite
def _windows(draw: st.DrawFn, rank: int) -> dict[str, Any]:
    small = st.integers(1, 3)
    attributes: dict[str, Any] = {
        "strides": draw(st.lists(small, min_size=rank, max_size=rank)),
        "dilations": draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank)),
        "group": draw(st.sampled_from([1, 2, 4])),
    }
    padding = draw(st.sampled_from(["pads", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if padding == "pads":
        attributes["pads"] = draw(st.lists(st.integers(0, 2), min_size=2 * rank, max_size=2 * rank))
    else:
        attributes["auto_pad"] = padding
        attributes["dilations"] = [1] * rank
    return attributes


@settings(max_examples=10, deadline=None)
@given(_windows(2), st.tuples(st.integers(1, 3), st.integers(1, 3)), st.integers(7, 10))
def test_two_axes(attributes: dict[str, Any], kernel: tuple[int, int], size: int) -> None:
    weight = normal(8, 4 // attributes["group"], *kernel, seed=1)
    check_node("Conv", {"x": normal(2, 4, size, 9)}, {"w": weight, "b": normal(8)}, atol=ATOL, **attributes)


@settings(max_examples=4, deadline=None)
@given(_windows(1), st.integers(1, 3))
def test_one_axis(attributes: dict[str, Any], kernel: int) -> None:
    weight = normal(8, 4 // attributes["group"], kernel, seed=1)
    check_node("Conv", {"x": normal(2, 4, 11)}, {"w": weight, "b": normal(8)}, atol=ATOL, **attributes)


def test_three_axes() -> None:
    weight = normal(4, 3, 2, 3, 3, seed=1)
    check_node("Conv", {"x": normal(1, 3, 5, 6, 7)}, {"w": weight, "b": normal(4)}, atol=ATOL, pads=[0, 1, 1, 1, 0, 1])


def test_a_bias_is_an_addition_and_padding_an_attribute() -> None:
    imported = check_node(
        "Conv", {"x": normal(1, 4, 8, 8)}, {"w": normal(8, 4, 3, 3), "b": normal(8)}, atol=ATOL, pads=[0, 1, 2, 1]
    )
    assert operator_names(imported) == ["nn.conv2d", "add"]


def test_a_weight_may_be_an_input() -> None:
    check_node("Conv", {"x": normal(1, 4, 8, 8), "w": normal(8, 4, 3, 3)}, atol=ATOL)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 2], "pads": [1, 0, 1, 1]},
        {"strides": [2, 3], "output_padding": [1, 2]},
        {"strides": [2, 2], "dilations": [2, 1]},
        {"strides": [2, 2], "group": 2},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
        {"strides": [3, 2], "output_shape": [15, 11]},
    ],
)
def test_transposed(attributes: dict[str, Any]) -> None:
    weight = normal(4, 6 // attributes.get("group", 1), 3, 3, seed=1)
    bias = normal(weight.shape[1] * attributes.get("group", 1))
    check_node("ConvTranspose", {"x": normal(1, 4, 5, 6)}, {"w": weight, "b": bias}, atol=ATOL, **attributes)


def test_transposed_over_one_axis() -> None:
    check_node("ConvTranspose", {"x": normal(1, 4, 7)}, {"w": normal(4, 3, 4)}, atol=ATOL, strides=[2], pads=[1, 1])


def test_transposed_volumes_and_weights_that_are_no_constants() -> None:
    data, weight = normal(2, 4, 5, 6, 4), normal(4, 3, 2, 3, 3, seed=1)
    check_node("ConvTranspose", {"x": data, "w": weight}, strides=[2, 1, 3], pads=[1, 0, 1, 0, 1, 1],
               output_padding=[1, 0, 2], atol=1e-4)  # fmt: skip
    check_node("ConvTranspose", {"x": data, "w": weight}, strides=[2, 1, 3], group=2, dilations=[1, 2, 1], atol=1e-4)
    flat = {"x": data[..., 0], "w": np.ascontiguousarray(weight[..., 0])}
    check_node("ConvTranspose", flat, strides=[2, 3], group=2, dilations=[3, 2], pads=[1, 0, 2, 1], atol=1e-4)
    line = {"x": data[..., 0, 0], "w": np.ascontiguousarray(weight[..., 0, 0]), "b": normal(3)}
    check_node("ConvTranspose", line, strides=[2], dilations=[3], pads=[2, 1], atol=1e-4)
