"""Pooling rows against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx_models import check_node, check_reference, model_of, normal


@st.composite
def _windows(draw: st.DrawFn) -> dict[str, Any]:
    kernel = draw(st.lists(st.integers(2, 3), min_size=2, max_size=2))
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": draw(st.lists(st.integers(1, 3), min_size=2, max_size=2)),
        "ceil_mode": draw(st.integers(0, 1)),
    }
    padding = draw(st.sampled_from(["pads", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if padding == "pads":
        attributes["pads"] = [draw(st.integers(0, size - 1)) for size in (*kernel, *kernel)]
    else:
        attributes["auto_pad"] = padding
        attributes["ceil_mode"] = 0
        # Onnxruntime computes negative padding where windows leave gaps.
        attributes["strides"] = [min(pair) for pair in zip(attributes["strides"], kernel, strict=True)]
    return attributes


@settings(max_examples=10, deadline=None)
@given(_windows(), st.integers(6, 9))
def test_maximum(attributes: dict[str, Any], size: int) -> None:
    check_node("MaxPool", {"x": normal(1, 3, size, 7) - 5}, **attributes)


@settings(max_examples=14, deadline=None)
@given(_windows(), st.integers(6, 9), st.integers(0, 1))
def test_mean(attributes: dict[str, Any], size: int, counted: int) -> None:
    check_node("AveragePool", {"x": normal(1, 3, size, 7)}, opset=19, count_include_pad=counted, **attributes)


def test_dilation() -> None:
    check_node("MaxPool", {"x": normal(1, 3, 9, 9)}, kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 0, 1, 1])
    check_node("AveragePool", {"x": normal(1, 3, 9, 9)}, opset=19, kernel_shape=[3, 2], dilations=[2, 3])


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
def test_one_and_three_axes(op_type: str) -> None:
    check_node(op_type, {"x": normal(1, 3, 9)}, kernel_shape=[3], strides=[2], pads=[1, 0])
    check_node(
        op_type, {"x": normal(1, 2, 5, 6, 7)}, kernel_shape=[2, 3, 2], strides=[1, 2, 2], pads=[0, 1, 0, 1, 1, 1]
    )


def test_p_norm() -> None:
    check_node("LpPool", {"x": normal(1, 3, 8, 8)}, kernel_shape=[3, 3], strides=[2, 2], p=2)
    check_node("LpPool", {"x": normal(1, 3, 8, 8)}, kernel_shape=[2, 2], p=3)


def test_global() -> None:
    for op_type in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"):
        check_node(op_type, {"x": normal(2, 3, 5, 4)})
    check_node("GlobalAveragePool", {"x": normal(2, 3, 5)})


def test_integers() -> None:
    check_node("MaxPool", {"x": np.arange(64, dtype="int8").reshape(1, 1, 8, 8)}, kernel_shape=[2, 2])


@pytest.mark.parametrize("storage_order", [0, 1])
def test_indices(storage_order: int) -> None:
    data = normal(2, 3, 7, 6)
    check_node("MaxPool", {"x": data}, outputs=2, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1],
               dilations=[1, 2], storage_order=storage_order)  # fmt: skip
    check_node("MaxPool", {"x": normal(2, 3, 9)}, outputs=2, kernel_shape=[4], ceil_mode=1, strides=[3])
    check_node("MaxPool", {"x": normal(2, 3, 4, 5, 3)}, outputs=2, kernel_shape=[2, 2, 2], strides=[2, 2, 1])


def test_unpooling() -> None:
    data = normal(2, 3, 6, 6)
    pooled = ReferenceEvaluator(
        model_of([helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2], strides=[2, 2])], {"x": data})
    ).run(None, {"x": data})
    inputs = dict(zip("xi", pooled, strict=True))
    check_node("MaxUnpool", inputs, kernel_shape=[2, 2], strides=[2, 2])
    check_reference("MaxUnpool", inputs, {"s": np.array([2, 3, 7, 8])}, kernel_shape=[2, 2], strides=[2, 2])
