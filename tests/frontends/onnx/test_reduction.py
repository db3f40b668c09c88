"""Reduction rows against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import check_model, check_node, model_of, normal

KINDS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
         "ReduceProd", "ReduceSum", "ReduceSumSquare")  # fmt: skip


@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from([[0], [1], [-1], [0, 2], [0, 1, 2], [1, -1], None]), st.integers(0, 1), st.sampled_from([11, 18])
)
def test_every_kind(axes: list[int] | None, keepdims: int, opset: int) -> None:
    data = np.abs(normal(3, 4, 5)) + 0.1
    constants, nodes = {}, []
    for kind in KINDS:
        attributes = {"keepdims": keepdims}
        operands = ["x"]
        if axes is not None and opset == 18:
            constants["axes"] = np.array(axes, np.int64)
            operands.append("axes")
        elif axes is not None:
            attributes["axes"] = axes  # type: ignore[assignment]
        nodes.append(helper.make_node(kind, operands, [f"y_{kind}"], **attributes))
    outputs = [f"y_{kind}" for kind in KINDS]
    check_model(model_of(nodes, {"x": data}, constants, outputs=outputs, opset=opset), {"x": data})


def test_no_axes_may_mean_nothing_to_do() -> None:
    check_node("ReduceSum", {"x": normal(3, 4)}, {"axes": np.zeros(0, np.int64)}, noop_with_empty_axes=1)
    check_node("ReduceSum", {"x": normal(3, 4)}, {"axes": np.zeros(0, np.int64)})


def test_the_logarithm_of_large_exponents_does_not_overflow() -> None:
    check_node("ReduceLogSumExp", {"x": normal(3, 4) + 200}, axes=[1])


@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
def test_the_place_of_extremes(op_type: str, last: int) -> None:
    data = np.array([[1, 3, 3, 0], [0, 2, 0, 2]], np.float32)
    for axis, keepdims in ((0, 1), (1, 0), (-1, 1)):
        check_node(op_type, {"x": data}, axis=axis, keepdims=keepdims, select_last_index=last)


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_running_sums(exclusive: int, reverse: int) -> None:
    for axis in (0, -1):
        constants = {"axis": np.array(axis, np.int64)}
        check_node("CumSum", {"x": normal(3, 4)}, constants, exclusive=exclusive, reverse=reverse)


def test_integers() -> None:
    data = np.arange(12, dtype="int32").reshape(3, 4)
    for kind in ("Sum", "Max", "Min", "Prod"):
        check_node(f"Reduce{kind}", {"x": data}, {"axes": np.array([1])} if kind == "Sum" else None)
