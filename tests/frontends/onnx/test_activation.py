"""Activation rows against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import check_model, check_node, import_model, model_of, normal, operator_names
from relax_runner import run_module

PLAIN = ("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "HardSwish")
WITH_ALPHA = ("LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "HardSigmoid")


def test_without_attributes() -> None:
    data = np.concatenate([normal(40) * 3, [-90.0, 90.0, 0.0]]).astype("float32")
    nodes = [helper.make_node(name, ["x"], [name]) for name in (*PLAIN, *WITH_ALPHA)]
    check_model(model_of(nodes, {"x": data}, outputs=[node.output[0] for node in nodes]), {"x": data})


@settings(max_examples=4, deadline=None)
@given(st.floats(0.125, 3.0, width=32))
def test_with_alpha(alpha: float) -> None:
    data = (normal(50) * 4).astype("float32")
    nodes = [helper.make_node(name, ["x"], [name], alpha=alpha) for name in WITH_ALPHA]
    check_model(model_of(nodes, {"x": data}, outputs=[node.output[0] for node in nodes]), {"x": data})


def test_gelu_is_recognised() -> None:
    assert operator_names(check_node("Gelu", {"x": normal(50)}, opset=20)) == ["nn.gelu"]
    assert operator_names(check_node("Gelu", {"x": normal(50)}, opset=20, approximate="tanh")) == ["nn.gelu_tanh"]


def test_prelu_slopes_broadcast() -> None:
    check_node("PRelu", {"x": normal(2, 3, 4)}, {"slope": normal(3, 1)})


def test_prelu_before_opset_7_has_a_slope_for_each_channel() -> None:
    data, slope = normal(2, 3, 4, 4), normal(3, seed=1)
    imported = import_model(
        model_of([helper.make_node("PRelu", ["x", "s"], ["y"])], {"x": data}, {"s": slope}, opset=6)
    )
    (result,) = run_module(imported.module, [data])
    np.testing.assert_array_equal(result, np.where(data < 0, data * slope[:, None, None], data))


@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize(("opset", "axis"), [(13, -1), (13, 1), (17, 0), (11, 1), (11, -1), (7, 2)])
def test_softmax_before_and_since_opset_13(op_type: str, opset: int, axis: int) -> None:
    check_node(op_type, {"x": normal(2, 3, 4)}, opset=opset, axis=axis)


def test_hardmax_takes_the_first_maximum() -> None:
    check_node("Hardmax", {"x": np.array([[1, 3, 3], [2, 1, 0]], "float32")}, axis=1)
    check_node("Hardmax", {"x": normal(2, 3, 4)}, axis=1)
