"""Operators that models seldom hold, against onnxruntime or onnx's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_models import check_node, check_reference, import_model, model_of, normal, tensor_input
from relax_runner import run_module

SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


@settings(max_examples=5)
@given(SHAPES, st.sampled_from(["uint8", "int16", "int32", "int64"]))
def test_bitwise_not(shape: tuple[int, ...], dtype: str) -> None:
    check_reference("BitwiseNot", {"x": (normal(*shape) * 90).astype(dtype)}, opset=18)


@settings(max_examples=5)
@given(SHAPES, st.sampled_from([0.5, 1.0, 2.0]))
def test_swish(shape: tuple[int, ...], alpha: float) -> None:
    check_reference("Swish", {"x": normal(*shape) * 3}, opset=24, alpha=alpha)


@settings(max_examples=5)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(-2, 2))
def test_ones_on_a_diagonal(rows: int, columns: int, diagonal: int) -> None:
    x = {"x": normal(rows, columns)}
    nodes = [helper.make_node("EyeLike", ["x"], ["e"], k=diagonal), helper.make_node("Add", ["x", "e"], ["y"])]
    (result,) = run_module(import_model(model_of(nodes, x)).module, x)
    np.testing.assert_array_equal(result, x["x"] + np.eye(rows, columns, diagonal, dtype=np.float32))
    check_reference("EyeLike", x, k=diagonal, dtype=TensorProto.INT64)


@pytest.mark.parametrize("axis", [0, 1])
def test_scatter_before_opset_11(axis: int) -> None:
    places = np.array([[1, 0, 2], [0, 2, 1]])
    updates = normal(2, 3, seed=1)
    check_node("Scatter", {"x": normal(3, 3), "i": places, "u": updates}, opset=9, axis=axis)


def test_uniform_numbers_with_a_seed() -> None:
    wanted = np.random.RandomState(5).rand(3, 4).astype(np.float32) * np.float32(3) + np.float32(-1)
    nodes = [helper.make_node("RandomUniform", [], ["r"], seed=5.0, low=-1.0, high=2.0, shape=[3, 4]),
             helper.make_node("Add", ["x", "r"], ["y"])]  # fmt: skip
    x = {"x": normal(3, 4)}
    (result,) = run_module(import_model(model_of(nodes, x)).module, x)
    np.testing.assert_allclose(result, x["x"] + wanted, rtol=1e-6)


def test_maps_of_classes_are_tensors() -> None:
    scores = normal(5, 3)
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[4, 5, 6])
    graph = helper.make_graph([node], "test", [tensor_input("x", scores)], [tensor_input("y", scores)])
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    graph.output[0].type.CopyFrom(helper.make_sequence_type_proto(kind))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    (result,) = run_module(import_model(model).module, [scores])
    np.testing.assert_array_equal(result, scores)


@pytest.mark.parametrize("mode", [0, 1, 2, 3, 4, 5])
def test_trees_of_opset_5(mode: int) -> None:
    attributes: dict[str, Any] = {
        "n_targets": 2, "tree_roots": [0], "aggregate_function": 1, "post_transform": 0,
        "nodes_featureids": [0, 1], "nodes_modes": _tensor([mode, 0], np.uint8),
        "nodes_splits": _tensor([0.5, -0.5], np.float32), "nodes_truenodeids": [0, 1], "nodes_trueleafs": [1, 1],
        "nodes_falsenodeids": [1, 2], "nodes_falseleafs": [0, 1],
        "leaf_targetids": [0, 1, 0], "leaf_weights": _tensor([1.5, -2.0, 4.0], np.float32),
    }  # fmt: skip
    x = np.round(normal(30, 2) * 2) / 2
    node = helper.make_node("TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    graph = helper.make_graph([node], "test", [tensor_input("x", x)], [tensor_input("y", x)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 5)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    (wanted,) = ReferenceEvaluator(model).run(None, {"x": x})
    (result,) = run_module(import_model(model).module, [x])
    np.testing.assert_allclose(result, wanted, rtol=1e-6)


def _tensor(values: list[float], dtype: type) -> Any:
    return numpy_helper.from_array(np.array(values, dtype), "t")
