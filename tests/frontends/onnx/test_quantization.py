"""Quantization and integer operators, to the bit, against onnx's evaluator and onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_models import check_model, import_model, model_of
from relax_runner import run_module

from tilewright.errors import UserError
from tilewright.passes.quantization import DEQUANTIZE, QUANTIZE

Array = NDArray[Any]
_EXACT: dict[str, Any] = {"rtol": 0, "atol": 0}


def _integers(rng: np.random.Generator, dtype: str, *shape: int) -> Array:
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, endpoint=True).astype(dtype)


def _check_reference(model: onnx.ModelProto, inputs: dict[str, Array]) -> None:
    wanted = ReferenceEvaluator(model).run(None, inputs)
    imported = import_model(model)
    results = run_module(imported.module, [inputs[spec.name] for spec in imported.signature.inputs])
    for expected, result in zip(wanted, results, strict=True):
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result.astype(np.float64), expected.astype(np.float64))


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(["int8", "uint8", "int16", "uint16", "int4", "uint4", "int2", "float8_e4m3fn", "float8_e5m2"]),
    st.sampled_from(["tensor", "axis", "blocks"]),
    st.integers(1, 3),
    st.integers(0, 2**16),
)
def test_grids(dtype: str, kind: str, blocks: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((3, 4 * blocks, 5)) * 40).astype(np.float32)
    shape = {"tensor": (), "axis": (4 * blocks,), "blocks": (3, blocks, 5)}[kind]
    scale = rng.uniform(0.05, 3, shape).astype(np.float32)
    small = dtype.startswith("float8")
    zero = np.zeros(shape, np.float32) if small else rng.integers(0, 2, shape)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=1, block_size=4 if kind == "blocks" else 0),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=1, block_size=4 if kind == "blocks" else 0),
    ]
    constants = {"s": scale, "z": np.asarray(zero).astype(np.dtype(dtype))}
    _check_reference(model_of(nodes, {"x": x}, constants, ["q", "y"], opset=25), {"x": x})


def test_quantization_stays_one_operator_in_the_module() -> None:
    x = np.ones((2, 3), np.float32)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    model = model_of(nodes, {"x": x}, {"s": np.float32(0.1), "z": np.uint8(3)})
    text = import_model(model).module.script()
    assert QUANTIZE.split(".")[1] in text
    assert DEQUANTIZE.split(".")[1] in text


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 40), (2, 3, 5)])
@pytest.mark.parametrize("shift", [-4.0, 0.0, 4.0])
def test_dynamic_quantization(shape: tuple[int, ...], shift: float) -> None:
    x = (np.random.default_rng(len(shape)).standard_normal(shape) + shift).astype(np.float32)
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])
    check_model(model_of([node], {"x": x}), {"x": x}, **_EXACT)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("group", [1, 2])
def test_qlinear_conv(dtype: str, per_channel: bool, group: int) -> None:
    rng = np.random.default_rng(3)
    x, w = _integers(rng, dtype, 1, 4, 7, 6), _integers(rng, "int8", 6, 4 // group, 3, 3)
    constants = {
        "xs": np.float32(0.03),
        "xz": np.asarray(5, dtype),
        "w": w,
        "ws": rng.uniform(0.01, 0.1, 6).astype(np.float32) if per_channel else np.float32(0.05),
        "wz": np.zeros(6, np.int8) if per_channel else np.int8(0),
        "ys": np.float32(0.7),
        "yz": np.asarray(9, dtype),
        "b": rng.integers(-500, 500, 6).astype(np.int32),
    }
    operands = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    node = helper.make_node("QLinearConv", operands, ["y"], pads=[1, 0, 1, 1], strides=[2, 1], group=group)
    check_model(model_of([node], {"x": x}, constants), {"x": x}, **_EXACT)


@pytest.mark.parametrize("shapes", [((4, 9), (9, 5)), ((2, 4, 9), (2, 9, 5)), ((3, 9), (2, 9, 4))])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_qlinear_matmul(shapes: tuple[tuple[int, ...], tuple[int, ...]], dtype: str) -> None:
    rng = np.random.default_rng(4)
    inputs = {"a": _integers(rng, dtype, *shapes[0]), "b": _integers(rng, dtype, *shapes[1])}
    constants = {name: np.float32(value) for name, value in (("as", 0.02), ("bs", 0.05), ("ys", 0.9))}
    zeros = {name: np.asarray(value, dtype) for name, value in (("az", 3), ("bz", 1), ("yz", 11))}
    node = helper.make_node("QLinearMatMul", ["a", "as", "az", "b", "bs", "bz", "ys", "yz"], ["y"])
    check_model(model_of([node], inputs, {**constants, **zeros}), inputs, **_EXACT)


def test_integer_products() -> None:
    rng = np.random.default_rng(5)
    inputs = {"a": _integers(rng, "uint8", 2, 4, 9), "b": _integers(rng, "uint8", 9, 5)}
    zeros = {"az": np.uint8(7), "bz": np.arange(5).astype(np.uint8)}
    node = helper.make_node("MatMulInteger", ["a", "b", "az", "bz"], ["y"])
    check_model(model_of([node], inputs, zeros), inputs, **_EXACT)
    image = {"x": _integers(rng, "uint8", 1, 3, 6, 6), "w": _integers(rng, "uint8", 4, 3, 3, 3)}
    node = helper.make_node("ConvInteger", ["x", "w", "xz"], ["y"], pads=[1, 1, 1, 1])
    check_model(model_of([node], image, {"xz": np.uint8(128)}), image, **_EXACT)


_INTEGERS = np.arange(24, dtype=np.int8).reshape(4, 6)


@pytest.mark.parametrize("scale", [0.0, 1e-42, np.inf, np.nan])
@pytest.mark.parametrize("operator", ["QuantizeLinear", "DequantizeLinear"])
def test_scales_that_stand_for_no_grid_are_refused(operator: str, scale: float) -> None:
    data = _INTEGERS if operator == "DequantizeLinear" else _INTEGERS.astype(np.float32)
    scales = np.array([0.5, scale, 0.25, 1], np.float32)
    node = helper.make_node(operator, ["x", "s"], ["y"], name="grid", axis=0)
    model = model_of([node], {"x": data}, {"s": scales}, opset=19)
    with pytest.raises(UserError, match=rf"node {operator} 'grid': a scale of {scales[1]:g} stands for no grid"):
        import_model(model)


def test_channels_of_zeros_may_have_a_scale_of_zero() -> None:
    weights = np.where(np.arange(4)[:, None] == 2, 5, _INTEGERS).astype(np.int8)
    constants = {
        "w": weights,
        "s": np.array([0.5, 1, 0, 2], np.float32),
        "z": np.array([0, 1, 5, 0], np.int8),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=0),
        helper.make_node("Add", ["x", "d"], ["y"]),
    ]
    x = np.ones((4, 6), np.float32)
    _check_reference(model_of(nodes, {"x": x}, constants, opset=19), {"x": x})


def test_grids_that_do_not_fit_are_refused() -> None:
    node = helper.make_node("DequantizeLinear", ["x", "s"], ["y"], name="grid", axis=0)
    model = model_of([node], {"x": _INTEGERS}, {"s": np.ones(3, np.float32)}, opset=19)
    with pytest.raises(UserError, match="DequantizeLinear 'grid': 3 scales do not fit axis 0"):
        import_model(model)
    node = helper.make_node("DequantizeLinear", ["x", "s", "z"], ["y"], name="grid")
    model = model_of([node], {"x": _INTEGERS}, {"s": np.float32(1), "z": np.int8(3)}, opset=19)
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.uint8(3), "z"))
    with pytest.raises(UserError, match="DequantizeLinear 'grid': .*x_zero_point has inconsistent type"):
        import_model(model)


@pytest.mark.parametrize("operator", ["QuantizeLinear", "DequantizeLinear"])
def test_every_scale_has_a_zero_point(operator: str) -> None:
    data = _INTEGERS if operator == "DequantizeLinear" else _INTEGERS.astype(np.float32)
    node = helper.make_node(operator, ["x", "s", "z"], ["y"], name="grid", axis=0)
    constants = {"s": np.ones(len(data), np.float32), "z": np.zeros(len(data) - 1, _INTEGERS.dtype)}
    with pytest.raises(UserError, match=rf"{operator} 'grid': zero points of shape \[{len(data) - 1}\] do not fit"):
        import_model(model_of([node], {"x": data}, constants, opset=19))
