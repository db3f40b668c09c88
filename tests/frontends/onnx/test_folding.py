"""Constant subgraphs, function bodies and branches."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import check_model, import_model, model_of, normal, operator_names
from relax_runner import run_module

from tilewright.errors import UserError


def test_shape_arithmetic_vanishes() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Mul", ["batch", "three"], ["rows"]),
        helper.make_node("Unsqueeze", ["rows", "axis"], ["rows1"]),
        helper.make_node("Concat", ["rows1", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    constants = {
        "zero": np.array(0), "three": np.array(3), "axis": np.array([0]), "rest": np.array([-1]),
    }  # fmt: skip
    inputs = {"x": normal(2, 3, 4)}
    assert operator_names(check_model(model_of(nodes, inputs, constants), inputs)) == ["reshape"]


def test_integer_arithmetic_is_exact() -> None:
    nodes = [
        helper.make_node("Size", ["x"], ["size"]),
        helper.make_node("Add", ["size", "big"], ["sum"]),
        helper.make_node("Div", ["sum", "seven"], ["quotient"]),
        helper.make_node("Sub", ["quotient", "offset"], ["y"]),
    ]
    big = 2**53 + 1
    constants = {"big": np.array(big), "seven": np.array(-7), "offset": np.array(1)}
    imported = import_model(model_of(nodes, {"x": normal(2, 3)}, constants))
    (result,) = run_module(imported.module, [normal(2, 3)])
    assert result == -((big + 6) // 7) - 1


def test_a_small_file_does_not_become_gigabytes() -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["huge"], ["zeros"]),
        helper.make_node("ReduceMax", ["zeros"], ["top"], keepdims=0),
        helper.make_node("Add", ["x", "top"], ["y"]),
    ]
    model = model_of(nodes, {"x": normal(2, 3)}, {"huge": np.array([2**15, 2**15])})
    imported = import_model(model)
    assert operator_names(imported) == ["full", "max", "add"]


def test_random_operators_are_never_folded() -> None:
    nodes = [helper.make_node("RandomNormal", [], ["r"], shape=[2, 3]), helper.make_node("Add", ["x", "r"], ["y"])]
    with pytest.raises(UserError, match="RandomNormal without a seed is not supported"):
        import_model(model_of(nodes, {"x": normal(2, 3)}))


def test_indices_fewer_than_the_data() -> None:
    nodes = [
        helper.make_node("GatherElements", ["table", "places"], ["row"], axis=1),
        helper.make_node("Add", ["x", "row"], ["y"]),
    ]
    constants = {"table": normal(3, 8), "places": np.array([[7, -8, 2]])}
    check_model(model_of(nodes, {"x": normal(1, 3)}, constants), {"x": normal(1, 3)})


@pytest.mark.parametrize(
    ("op_type", "opset"), [("Mish", 18), ("Shrink", 17), ("MeanVarianceNormalization", 17), ("CenterCropPad", 18)]
)
def test_operators_without_a_row_become_their_function_bodies(op_type: str, opset: int) -> None:
    crop = op_type == "CenterCropPad"
    node = helper.make_node(op_type, ["x", "shape"] if crop else ["x"], ["y"])
    constants = {"shape": np.array([1, 3, 2, 5])} if crop else None
    inputs = {"x": normal(2, 3, 4, 4)}
    check_model(model_of([node], inputs, constants, opset=opset), inputs, atol=1e-5)


def test_functions_of_the_model_are_expanded() -> None:
    body = [
        helper.make_node("Constant", [], ["c"], value_float=0.0),
        helper.make_node("Mul", ["a", "c"], ["scaled"]),
        helper.make_node("Relu", ["scaled"], ["out"]),
    ]
    body[0].attribute[0].CopyFrom(onnx.AttributeProto(name="value_float", ref_attr_name="factor", type=1))
    function = helper.make_function(
        "com.example", "ScaledRelu", ["a"], ["out"], body, [helper.make_opsetid("", 17)], ["factor"]
    )
    node = helper.make_node("ScaledRelu", ["x"], ["y"], domain="com.example", factor=-2.0)
    model = model_of([node], {"x": normal(3, 4)}, functions=[function])
    assert operator_names(check_model(model, {"x": normal(3, 4)})) == ["multiply", "nn.relu"]


@pytest.mark.parametrize("truth", [True, False])
def test_a_branch_whose_condition_is_known_is_taken(truth: bool) -> None:
    output = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    branches = {
        f"{name}_branch": helper.make_graph([helper.make_node(op, ["x"], ["z"])], name, [], [output])
        for name, op in (("then", "Relu"), ("else", "Exp"))
    }
    node = helper.make_node("If", ["condition"], ["y"], **branches)
    model = model_of([node], {"x": normal(3, 4)}, {"condition": np.array(truth)})
    assert operator_names(check_model(model, {"x": normal(3, 4)})) == ["nn.relu" if truth else "exp"]


def test_nodes_that_nothing_needs_are_left_out() -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["unused"]), helper.make_node("Relu", ["x"], ["y"])]
    inputs = {"x": normal(3, 4)}
    assert operator_names(check_model(model_of(nodes, inputs, outputs=["y"]), inputs)) == ["nn.relu"]


def test_outputs_may_be_inputs_or_constants() -> None:
    nodes = [helper.make_node("Identity", ["x"], ["same"]), helper.make_node("Neg", ["c"], ["fixed"])]
    inputs = {"x": normal(3)}
    check_model(model_of(nodes, inputs, {"c": normal(2)}, outputs=["same", "fixed"]), inputs)


def test_old_dequantization_of_constants_keeps_their_integers() -> None:
    constants = {"w": np.array([[1, -2], [3, 4]], np.int8), "s": np.array([0.5, 2], np.float32)}
    constants["z"] = np.zeros(2, np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=1),
        helper.make_node("Add", ["x", "d"], ["y"]),
    ]
    inputs = {"x": normal(2, 2)}
    assert operator_names(check_model(model_of(nodes, inputs, constants, opset=13), inputs)) == [
        "tilewright.dequantize",
        "add",
    ]
