"""Elementwise rows against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_models import check_model, check_node, model_of, normal, operator_names

#: Operators defined on all numbers, then on those above one (Acosh) or within one.
ANYWHERE = (
    "Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "Identity", "IsInf", "IsNaN", "Neg", "Reciprocal",
    "Round", "Sign", "Sin", "Sinh", "Cosh", "Tan", "Atan", "Asinh",
)  # fmt: skip
WITHIN_ONE = ("Asin", "Acos", "Atanh")
POSITIVE = ("Sqrt", "Log")


def _all_of(operators: tuple[str, ...], data: Any, rtol: float = 1e-5) -> None:
    nodes = [helper.make_node(name, ["x"], [f"y_{name}"]) for name in operators]
    check_model(model_of(nodes, {"x": data}, outputs=[f"y_{name}" for name in operators]), {"x": data}, rtol=rtol)


def test_unary_on_all_numbers() -> None:
    _all_of(ANYWHERE, np.concatenate([normal(40) * 3, [0.5, 1.5, 2.5, -0.5, -1.5, -2.5]]).astype("float32"))


def test_unary_on_parts_of_the_line() -> None:
    _all_of(WITHIN_ONE, np.linspace(-0.95, 0.95, 17, dtype="float32"))
    _all_of(POSITIVE, np.linspace(0.01, 50, 17, dtype="float32"))
    _all_of(("Acosh",), np.linspace(1.1, 50, 17, dtype="float32"))


def test_special_values_are_seen() -> None:
    data = np.array([np.nan, np.inf, -np.inf, 1.0, -0.0], np.float32)
    _all_of(("IsNaN", "IsInf", "Abs", "Neg"), data)
    check_node("IsInf", {"x": data}, detect_positive=0, opset=20)
    check_node("IsInf", {"x": data}, detect_negative=0, opset=20)


@settings(max_examples=6, deadline=None)
@given(st.sampled_from([((2, 3), (3,)), ((4, 1, 3), (2, 1)), ((), (2, 2)), ((2, 3, 4), (2, 3, 4))]), st.integers(0, 99))
def test_binary_with_broadcasting(shapes: tuple[tuple[int, ...], tuple[int, ...]], seed: int) -> None:
    inputs = {"a": normal(*shapes[0], seed=seed), "b": normal(*shapes[1], seed=seed + 1)}
    operators = ("Add", "Sub", "Mul", "Div", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Max", "Min")
    nodes = [helper.make_node(name, ["a", "b"], [name]) for name in (*operators, "Mean", "Sum")]
    check_model(model_of(nodes, inputs, outputs=[*operators, "Mean", "Sum"]), inputs)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integer_division_rounds_towards_zero(dtype: str) -> None:
    a, b = np.meshgrid(np.arange(-9, 10), [-4, -3, -1, 1, 2, 5])
    inputs = {"a": a.astype(dtype), "b": b.astype(dtype)}
    check_node("Div", inputs)
    check_node("Mod", inputs)
    check_node("Mod", inputs, fmod=1)


def test_float_remainder_keeps_the_sign_of_the_dividend() -> None:
    a, b = np.meshgrid(np.linspace(-7.3, 7.1, 13), [-2.5, -1.0, 0.75, 3.0])
    check_node("Mod", {"a": a.astype("float32"), "b": b.astype("float32")}, fmod=1, atol=1e-5)


def test_logic_and_bits() -> None:
    truth = {"a": np.array([0, 0, 1, 1], bool), "b": np.array([0, 1, 0, 1], bool)}
    nodes = [helper.make_node(name, ["a", "b"], [name]) for name in ("And", "Or", "Xor", "Equal")]
    nodes.append(helper.make_node("Not", ["a"], ["Not"]))
    check_model(model_of(nodes, truth, outputs=[node.output[0] for node in nodes]), truth)
    bits = {"a": np.array([1, 77, 200, 255], np.uint8), "b": np.array([0, 3, 8, 1], np.uint8)}
    for direction in ("LEFT", "RIGHT"):
        kept = {"a": bits["a"], "b": np.minimum(bits["b"], 7)}
        check_node("BitShift", kept, direction=direction)
    nodes = [helper.make_node(name, ["a", "b"], [name]) for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")]
    check_model(model_of(nodes, bits, outputs=[node.output[0] for node in nodes], opset=18), bits)


def test_power_with_mixed_types() -> None:
    check_node("Pow", {"a": np.abs(normal(3, 4)) + 0.1, "b": normal(4)})
    check_node("Pow", {"a": normal(3, 4)}, {"b": np.array(3, np.int64)})
    check_node("Pow", {"a": np.arange(-5, 6, dtype="int32"), "b": np.array([2], np.int32)})
    check_node("Pow", {"a": np.arange(1, 6, dtype="int64")}, {"b": np.array(2.0, np.float32)})


@pytest.mark.parametrize(
    ("source", "target"),
    [("float32", "int32"), ("float32", "bool"), ("bool", "float32"), ("int64", "float32"), ("int32", "int8"),
     ("float32", "float64"), ("float32", "float16"), ("uint8", "int64")],
)  # fmt: skip
def test_cast(source: str, target: str) -> None:
    data = np.array([0, 1, 2.75, 100.25, 5], "float32").astype(source)
    check_node("Cast", {"x": data}, to=helper.np_dtype_to_tensor_dtype(np.dtype(target)))


def test_where_and_clip() -> None:
    x = normal(3, 4)
    check_node("Where", {"c": x > 0, "a": x, "b": normal(4, seed=1)})
    low, high = np.array(-0.5, "float32"), np.array(0.25, "float32")
    assert operator_names(check_node("Clip", {"x": x}, {"low": low, "high": high})) == ["clip"]
    check_node("Clip", {"x": x}, {"high": high}, order=["x", "", "high"])
    check_node("Clip", {"x": x, "low": low})
    check_node("Clip", {"x": (x * 9).astype("int32")}, {"low": np.array(-3, "int32"), "high": np.array(5, "int32")})
    check_node("Clip", {"x": x}, opset=6, min=-0.25, max=0.5)
    check_node("Clip", {"x": x}, {"low": high, "high": low})


def test_a_cast_of_a_constant_is_a_constant() -> None:
    node = helper.make_node("CastLike", ["two", "x"], ["t"])
    last = helper.make_node("Mul", ["x", "t"], ["y"])
    model = model_of([node, last], {"x": normal(3)}, {"two": np.array(2, np.int64)}, opset=19)
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert operator_names(check_model(model, {"x": normal(3)})) == ["multiply"]
