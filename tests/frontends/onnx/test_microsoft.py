"""Operators of com.microsoft against onnxruntime, which executes them, and models that its optimizer rewrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from microsoft_nodes import Array
from microsoft_nodes import check as _check
from microsoft_nodes import integers as _bytes
from microsoft_nodes import normal as _normal
from onnx import TensorProto, helper
from onnx_models import check_model, model_of, tensor_input


@pytest.mark.parametrize("name", ["Gelu", "FastGelu", "QuickGelu"])
def test_activations(name: str) -> None:
    _check(name, {"x": _normal(3, 8)})


@pytest.mark.parametrize("name", ["BiasGelu", "FastGelu"])
def test_biased_activations(name: str) -> None:
    _check(name, {"x": _normal(2, 3, 8)}, {"b": _normal(8)})


@pytest.mark.parametrize("flags", [{}, {"transA": 1, "alpha": 0.5}, {"transB": 1}, {"transA": 1, "transB": 1}])
def test_fused_matmul(flags: dict[str, Any]) -> None:
    a = _normal(2, 5, 3) if flags.get("transA") else _normal(2, 3, 5)
    b = _normal(2, 4, 5) if flags.get("transB") else _normal(2, 5, 4)
    _check("FusedMatMul", {"a": a, "b": b}, **flags)


def test_fused_matmul_with_batches_inside() -> None:
    _check("FusedMatMul", {"a": _normal(3, 2, 5), "b": _normal(2, 5, 4)}, transBatchA=1)


@pytest.mark.parametrize("activation", [("Relu", {}), ("LeakyRelu", {"activation_alpha": 0.2}), ("Tanh", {})])
def test_fused_gemm(activation: tuple[str, dict[str, float]]) -> None:
    name, parameters = activation
    _check(
        "FusedGemm",
        {"a": _normal(3, 5)},
        {"b": _normal(4, 5), "c": _normal(4)},
        transB=1,
        activation=name,
        **parameters,
    )


@pytest.mark.parametrize("activation", [("Relu", []), ("Clip", [-0.5, 0.5]), ("LeakyRelu", [0.3])])
def test_fused_conv(activation: tuple[str, list[float]]) -> None:
    name, parameters = activation
    constants = {"w": _normal(4, 3, 3, 3), "b": _normal(4)}
    extra = {"activation_params": parameters} if parameters else {}
    _check("FusedConv", {"x": _normal(1, 3, 6, 6)}, constants, activation=name, pads=[1, 1, 1, 1], **extra)


@pytest.mark.parametrize("simple", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_skip_normalizations(simple: bool, bias: bool) -> None:
    inputs = {"x": _normal(2, 3, 8), "s": _normal(2, 3, 8)}
    constants = {"g": _normal(8), "beta": _normal(8), "b": _normal(8)}
    order = ("x s g" if simple else "x s g beta") + (" b" if bias else "")
    used = {name: constants[name] for name in order.split()[2:]}
    name = "SkipSimplifiedLayerNormalization" if simple else "SkipLayerNormalization"
    _check(name, inputs, used, order, epsilon=1e-5)


def test_embed_layer_normalization() -> None:
    rng = np.random.default_rng(0)
    inputs = {
        "ids": rng.integers(0, 30, (2, 5)).astype(np.int32),
        "segments": rng.integers(0, 2, (2, 5)).astype(np.int32),
        "mask": np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32),
    }
    tables = {
        "words": _normal(30, 8),
        "places": _normal(16, 8),
        "kinds": _normal(2, 8),
        "g": _normal(8),
        "b": _normal(8),
    }
    _check(
        "EmbedLayerNormalization",
        inputs,
        tables,
        "ids segments words places kinds g b mask",
        {"y": "float32", "lengths": "int32"},
    )


@pytest.mark.parametrize("mask", ["none", "lengths", "keys", "causal", "past"])
def test_attention(mask: str) -> None:
    inputs: dict[str, Array] = {"x": _normal(2, 5, 12)}
    constants = {"w": _normal(12, 36) / 4, "b": _normal(36)}
    order, outputs = "x w b", {"y": "float32"}
    if mask == "lengths":
        inputs["m"] = np.array([3, 5], np.int32)
    if mask == "keys":
        inputs["m"] = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    if mask == "past":
        inputs["past"] = _normal(2, 2, 3, 4, 4)
        outputs = {"y": "float32", "present": "float32"}
        order += " - past"
    order += " m" if "m" in inputs else ""
    causal = int(mask in ("causal", "past"))
    _check("Attention", inputs, constants, order, outputs, num_heads=3, unidirectional=causal)


@pytest.mark.parametrize("kind", ["plain", "bias", "mask", "past"])
def test_multi_head_attention(kind: str) -> None:
    inputs = {"q": _normal(2, 4, 12), "k": _normal(2, 6, 12), "v": _normal(2, 6, 12)}
    constants: dict[str, Array] = {}
    order, outputs = "q k v", {"y": "float32"}
    if kind == "bias":
        constants["b"], order = _normal(36), "q k v b"
    if kind == "mask":
        inputs["m"] = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], np.int32)
        inputs["a"], order = _normal(1, 3, 4, 6), "q k v - m a"
    if kind == "past":
        inputs |= {"pk": _normal(2, 3, 2, 4), "pv": _normal(2, 3, 2, 4)}
        order, outputs = "q k v - - - pk pv", {"y": "float32", "ok": "float32", "ov": "float32"}
    _check("MultiHeadAttention", inputs, constants, order, outputs, num_heads=3)


@pytest.mark.parametrize("kind", ["prompt", "rotary", "past", "window"])
def test_group_query_attention(kind: str) -> None:
    length = 1 if kind == "past" else 4
    inputs = {"q": _normal(1, length, 64), "k": _normal(1, length, 32), "v": _normal(1, length, 32)}
    past = 5 if kind == "past" else 0
    total = length + past
    constants: dict[str, Array] = {"last": np.array([total - 1], np.int32), "total": np.int32(total)}
    order = "q k v - - last total"
    if past:
        inputs |= {"pk": _normal(1, 2, past, 16), "pv": _normal(1, 2, past, 16)}
        order = "q k v pk pv last total"
    attributes: dict[str, int] = {"local_window_size": 2} if kind == "window" else {}
    if kind in ("rotary", "past"):
        angles = np.arange(16)[:, None] / 7 ** np.arange(8)[None, :]
        constants |= {"cos": np.cos(angles).astype(np.float32), "sin": np.sin(angles).astype(np.float32)}
        order += " cos sin"
        attributes["do_rotary"] = 1
    outputs = {"y": "float32", "ok": "float32", "ov": "float32"}
    _check("GroupQueryAttention", inputs, constants, order, outputs, num_heads=4, kv_num_heads=2, **attributes)


@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary_embedding(interleaved: int) -> None:
    inputs = {"x": _normal(2, 3, 16), "at": np.array([[0, 1, 5], [3, 4, 2]], np.int64)}
    tables = {"cos": _normal(9, 4), "sin": _normal(9, 4)}
    _check("RotaryEmbedding", inputs, tables, "x at cos sin", interleaved=interleaved)


@pytest.mark.parametrize("name", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_quantized_arithmetic(name: str, dtype: str) -> None:
    inputs = {"a": _bytes(dtype, 3, 40), "b": _bytes(dtype, 40)}
    scales = {"as": np.float32(0.25), "bs": np.float32(0.5), "ys": np.float32(2.0)}
    zeros = {each: np.asarray(3, dtype) for each in ("az", "bz", "yz")}
    _check(name, inputs, {**scales, **zeros}, "a as az b bs bz ys yz", {"y": dtype}, atol=1)


@pytest.mark.parametrize(
    "name", ["QLinearSigmoid", "QLinearLeakyRelu", "QLinearGlobalAveragePool", "QLinearAveragePool"]
)
def test_quantized_functions(name: str) -> None:
    inputs = {"x": _bytes("uint8", 1, 3, 8, 8)}
    constants = {"xs": np.float32(0.02), "xz": np.uint8(128), "ys": np.float32(0.01), "yz": np.uint8(7)}
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2]} if name == "QLinearAveragePool" else {}
    _check(name, inputs, constants, "x xs xz ys yz", {"y": "uint8"}, atol=1, **attributes)


def test_quantized_softmax_and_concat() -> None:
    constants = {"xs": np.float32(0.05), "xz": np.uint8(128), "ys": np.float32(1 / 256), "yz": np.uint8(0)}
    _check("QLinearSoftmax", {"x": _bytes("uint8", 3, 10)}, constants, "x xs xz ys yz", {"y": "uint8"}, 1, opset=13)
    inputs = {"a": _bytes("uint8", 2, 3), "b": _bytes("uint8", 2, 5)}
    constants = {"ys": np.float32(0.5), "yz": np.uint8(9), "s": np.float32(0.25), "z": np.uint8(3)}
    _check("QLinearConcat", inputs, constants, "ys yz a s z b s z", {"y": "uint8"}, axis=1)


def test_quantized_products() -> None:
    a, b = _bytes("uint8", 4, 9), _bytes("int8", 9, 5)
    scales = {"as": np.float32(0.02), "az": np.uint8(120), "bs": np.float32(0.03), "bz": np.int8(0)}
    whole = {"b": b, **scales, "c": np.arange(5).astype(np.int32) * 100, "ys": np.float32(0.5), "yz": np.uint8(5)}
    _check("QGemm", {"a": a}, whole, "a as az b bs bz c ys yz", {"y": "uint8"}, atol=0)
    bias = {**scales, "b": b, "bias": _normal(5)}
    _check("MatMulIntegerToFloat", {"a": a}, bias, "a b as bs az bz bias")
    weight = {"b": b, "bs": np.float32(0.03), "bz": np.int8(0), "bias": _normal(5)}
    _check("DynamicQuantizeMatMul", {"a": _normal(4, 9)}, weight, "a b bs bz bias", atol=1e-5)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zeros", [False, True])
def test_weights_of_few_bits(bits: int, zeros: bool) -> None:
    depth, rows, block = 64, 6, 32
    packed = _bytes("uint8", rows, depth // block, block * bits // 8)
    constants: dict[str, Array] = {"w": packed, "s": np.abs(_normal(rows * 2)) / 8}
    if zeros:
        constants["z"] = _bytes("uint8", rows * (1 if bits == 4 else 2))
    _check("MatMulNBits", {"x": _normal(3, depth)}, constants, atol=2e-4, K=depth, N=rows, bits=bits, block_size=block)


def test_refusals_name_the_remedy() -> None:
    graph = helper.make_graph(
        [helper.make_node("FusedGemm", ["a", "b"], ["y"], domain="com.microsoft", activation="Mystery")],
        "test",
        [tensor_input("a", _normal(2, 3)), tensor_input("b", _normal(3, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    with pytest.raises(Exception, match="the fused activation 'Mystery' is not supported"):
        check_model(model, {})


def test_a_block_that_onnxruntime_optimized(tmp_path: Path) -> None:
    """Gelu, a scaled product with a transposed operand, and a normalization after a skip are fused by it."""
    make = helper.make_node
    nodes = [
        make("MatMul", ["x", "w"], ["h"]),
        make("Add", ["h", "b"], ["hb"]),
        make("Div", ["hb", "root"], ["d"]),
        make("Erf", ["d"], ["e"]),
        make("Add", ["e", "one"], ["e1"]),
        make("Mul", ["hb", "e1"], ["he"]),
        make("Mul", ["he", "half"], ["gelu"]),
        make("Transpose", ["gelu"], ["turned"], perm=[0, 2, 1]),
        make("MatMul", ["gelu", "turned"], ["square"]),
        make("Mul", ["square", "half"], ["scaled"]),
        make("MatMul", ["scaled", "gelu"], ["mixed"]),
        make("Add", ["mixed", "x"], ["sum"]),
        make("LayerNormalization", ["sum", "g", "b"], ["y"]),
    ]
    scalars = {"root": np.float32(np.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5)}
    x = _normal(2, 6, 8)
    model = model_of(nodes, {"x": x}, {"w": _normal(8, 8), "b": _normal(8), "g": _normal(8), **scalars})
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options)
    optimized = onnx.load(tmp_path / "optimized.onnx")
    fused = {node.op_type for node in optimized.graph.node if node.domain == "com.microsoft"}
    assert {"FusedMatMul", "SkipLayerNormalization"} <= fused
    assert any("Gelu" in name for name in fused)
    check_model(optimized, {"x": x}, atol=1e-5)
