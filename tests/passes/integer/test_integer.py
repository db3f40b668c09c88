"""Quantized graphs computed on integers: within one unit of onnxruntime, and nothing in floats between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import model_of
from quantized_nets import QuantizedNet, check_net, groups_of, reference

import tilewright
from tilewright.runtime import load


@settings(max_examples=6, deadline=None)
@given(st.data())
def test_residual_blocks(tmp_path_factory: Any, data: Any) -> None:
    draw, rng = data.draw, np.random.default_rng(data.draw(st.integers(0, 99)))
    net = QuantizedNet(draw, rng, draw(st.booleans(), label="signed"))
    channels, size = draw(st.sampled_from([3, 16, 20])), draw(st.integers(4, 9))
    kernel, pad = draw(st.sampled_from([(1, 0), (3, 1)]))
    depthwise = draw(st.booleans(), label="depthwise")
    x = rng.standard_normal((2, channels, size, size)).astype(np.float32)
    source = net.quantized("x", 3.0)
    shape = (channels, 1 if depthwise else channels, kernel, kernel)
    taps = float(np.prod(shape[1:]))
    bias = rng.standard_normal(channels).astype(np.float32)
    net.constants["bias"] = bias
    weights = net.weight("w", shape, 0)
    conv = net.node("Conv", [source, weights, "bias"], "c", pads=[pad] * 4, group=channels if depthwise else 1)
    back = net.quantized(conv, 2 * taps**0.5 + 1)
    total = net.node("Relu", [net.node("Add", [back, source], "s")], "y")
    output = net.quantized(total, 2 * taps**0.5 + 3)
    model = check_net(net, x, output, "y", tmp_path_factory.mktemp("net"))
    (product,) = [work for work in groups_of(model) if work.family == "conv2d"]
    assert [each.dtype for each in product.inputs[:2]] == ["uint8", "int8"]


@settings(max_examples=4, deadline=None)
@given(st.data())
def test_dense_layers(tmp_path_factory: Any, data: Any) -> None:
    draw, rng = data.draw, np.random.default_rng(data.draw(st.integers(0, 99)))
    net = QuantizedNet(draw, rng, draw(st.booleans(), label="signed"))
    rows, depth, columns = draw(st.integers(1, 9)), 4 * draw(st.integers(1, 20)), draw(st.integers(1, 40))
    x = rng.standard_normal((rows, depth)).astype(np.float32)
    source = net.quantized("x", 3.0)
    net.constants["bias"] = rng.standard_normal(columns).astype(np.float32)
    product = net.node("MatMul", [source, net.weight("w", (depth, columns), 1)], "p")
    output = net.quantized(net.node("Add", [product, "bias"], "y"), 2 * depth**0.5)
    model = check_net(net, x, output, "y", tmp_path_factory.mktemp("net"))
    assert [work.family for work in groups_of(model)].count("matmul") == 1


def test_nothing_is_stored_in_floats_between_integer_operators() -> None:
    rng = np.random.default_rng(0)
    net = QuantizedNet(lambda _, label="": "from zero" in label, rng, signed=False)
    x = rng.standard_normal((1, 16, 12, 12)).astype(np.float32)
    source = net.quantized("x", 3.0)
    first = net.node("Conv", [source, net.weight("w1", (32, 16, 3, 3), 0)], "a", pads=[1] * 4)
    pooled = net.node("MaxPool", [net.quantized(first, 20.0)], "b", kernel_shape=[2, 2], strides=[2, 2])
    net.nodes += [
        helper.make_node("QuantizeLinear", [pooled, "a_scale", "a_zero"], ["b_q"]),
        helper.make_node("DequantizeLinear", ["b_q", "a_scale", "a_zero"], ["b_d"]),
    ]
    second = net.node("Conv", ["b_d", net.weight("w2", (32, 32, 1, 1), 0)], "c")
    total = net.node("Add", [net.quantized(second, 60.0), "b_d"], "d")
    output = net.quantized(total, 60.0)
    works = groups_of(model_of(net.nodes, {"x": x}, net.constants, [output], opset=17))
    made = [(work.family, work.output.dtype) for work in works if work.family != "layout_transform"]
    assert [dtype for family, dtype in made[:-1]] == ["uint8"] * (len(made) - 1)
    assert [family for family, _ in made].count("conv2d") == 2


def test_integer_operators(tmp_path: Path) -> None:
    """ConvInteger and MatMulInteger behind DynamicQuantizeLinear: the zero point is known at run time alone."""
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((6, 64)).astype(np.float32), rng.integers(-127, 128, (64, 24)).astype(np.int8)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["wide"], to=1),
        helper.make_node("Mul", ["wide", "s"], ["y"]),
    ]
    model = model_of(nodes, {"x": x}, {"w": w}, ["y"], opset=17)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    expected = reference(model, x)
    (result,) = load(tilewright.compile(path, jobs=1).save(tmp_path / "model.so"))(x=x).values()
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-4)
    assert ("uint8", "int8") in [tuple(each.dtype for each in work.inputs[:2]) for work in groups_of(model)]
