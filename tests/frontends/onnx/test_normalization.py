"""Normalization rows against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx_models import check_node, import_model, model_of, normal, operator_names
from relax_runner import run_module

ATOL = 1e-5


def _statistics(channels: int) -> dict[str, np.ndarray]:
    return {
        "scale": normal(channels, seed=1),
        "bias": normal(channels, seed=2),
        "mean": normal(channels, seed=3),
        "variance": np.abs(normal(channels, seed=4)) + 0.5,
    }


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 5, 4)])
@pytest.mark.parametrize("opset", [9, 17])
def test_batch(shape: tuple[int, ...], opset: int) -> None:
    imported = check_node("BatchNormalization", {"x": normal(*shape)}, _statistics(3), opset=opset, epsilon=1e-3)
    assert operator_names(imported) == ["nn.batch_norm"]


def test_statistics_of_the_batch() -> None:
    inputs = {"x": normal(4, 3, 5, 2), "s": normal(3, seed=1), "b": normal(3, seed=2), "m": normal(3, seed=3)}
    inputs["v"] = np.abs(normal(3, seed=4))
    check_node("BatchNormalization", inputs, outputs=3, training_mode=1, momentum=0.7, epsilon=1e-3, atol=1e-5)


def test_statistics_for_each_element() -> None:
    """Before opset 9: onnxruntime has no such kernel."""
    inputs = {"x": normal(4, 3, 2), **{name: normal(3, 2, seed=at) for at, name in enumerate("sbm")}}
    inputs["v"] = np.abs(normal(3, 2, seed=4))
    node = helper.make_node("BatchNormalization", list(inputs), ["y"], spatial=0)
    imported = import_model(model_of([node], inputs, opset=7))
    (result,) = run_module(imported.module, list(inputs.values()))
    expected = (inputs["x"] - inputs["m"]) / np.sqrt(inputs["v"] + 1e-5) * inputs["s"] + inputs["b"]
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("axis", "tail"), [(-1, (6,)), (1, (5, 6)), (0, (4, 5, 6))])
def test_layer(axis: int, tail: tuple[int, ...]) -> None:
    constants = {"scale": normal(*tail, seed=1), "bias": normal(*tail, seed=2)}
    imported = check_node("LayerNormalization", {"x": normal(4, 5, 6)}, constants, atol=ATOL, axis=axis, epsilon=1e-4)
    assert operator_names(imported) == ["nn.layer_norm"]
    check_node("LayerNormalization", {"x": normal(4, 5, 6)}, {"scale": constants["scale"]}, atol=ATOL, axis=axis)


def test_layer_gives_its_statistics() -> None:
    constants = {"scale": normal(6, seed=1), "bias": normal(6, seed=2)}
    check_node("LayerNormalization", {"x": normal(4, 6)}, constants, outputs=3, atol=ATOL)


def test_instance_and_group() -> None:
    constants = {"scale": normal(4, seed=1), "bias": normal(4, seed=2)}
    check_node("InstanceNormalization", {"x": normal(2, 4, 5, 3)}, constants, atol=ATOL)
    check_node("GroupNormalization", {"x": normal(2, 4, 5, 3)}, constants, opset=21, atol=ATOL, num_groups=2)


def test_local_response() -> None:
    for size in (1, 3, 5):
        check_node("LRN", {"x": normal(2, 6, 3, 4)}, size=size, alpha=0.2, beta=0.6, bias=1.5)


def test_p_norm() -> None:
    for p, axis in ((1, 0), (2, -1)):
        check_node("LpNormalization", {"x": normal(3, 4)}, p=p, axis=axis)


def test_dropout_is_the_identity() -> None:
    assert operator_names(check_node("Dropout", {"x": normal(3, 4)}, {"ratio": np.array(0.5, "float32")})) == []
    check_node("Dropout", {"x": normal(3, 4)}, opset=10, ratio=0.3)
