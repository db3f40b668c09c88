"""Functions of bytes become tables, normalizations write bytes, attention computes between bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx_models import model_of
from quantized_nets import QuantizedNet, check_net, groups_of

from tilewright.schedules.template import build_kernel
from tilewright.targets.database import load_target


class _Fixed:
    """Draws zero points in the middle, and no scales of channels."""

    def __call__(self, _: Any, label: str = "") -> Any:
        return 120 if label.startswith("zero") else False


def _gelu(net: QuantizedNet, x: str) -> str:
    """Add GELU with a rounding to a grid behind each of its operators."""
    net.constants |= {"root": np.float32(np.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5)}
    erf = net.quantized(net.node("Erf", [net.quantized(net.node("Div", [x, "root"], "g0"), 3.0)], "g1"), 1.0)
    product = net.quantized(net.node("Mul", [x, net.quantized(net.node("Add", [erf, "one"], "g2"), 2.0)], "g3"), 6.0)
    return net.node("Mul", [product, "half"], "y")


def _silu(net: QuantizedNet, x: str) -> str:
    return net.node("Mul", [x, net.quantized(net.node("Sigmoid", [x], "g0"), 1.0)], "y")


@pytest.mark.parametrize("function", [_gelu, _silu])
@pytest.mark.parametrize("target", ["host", "x86-64-v3", "x86-64"])
def test_functions_become_one_table(function: Any, target: str, tmp_path: Path) -> None:
    net = QuantizedNet(_Fixed(), np.random.default_rng(0), signed=target == "x86-64")
    x = np.random.default_rng(1).standard_normal((3, 7, 33)).astype(np.float32)
    output = net.quantized(function(net, net.quantized("x", 3.0)), 3.0)
    model = check_net(net, x, output, "y", tmp_path, target)
    families = [work.family for work in groups_of(model)]
    assert families.count("byte_table") == 1
    assert len(families) <= 3


def test_sums_stay_in_registers() -> None:
    net = QuantizedNet(_Fixed(), np.random.default_rng(0), signed=False)
    x = np.zeros((4, 8), np.float32)
    net.constants["two"] = np.float32(2)
    output = net.quantized(net.node("Mul", [net.quantized("x", 3.0), "two"], "y"), 3.0)
    works = groups_of(model_of(net.nodes, {"x": x}, net.constants, [output], opset=17))
    assert "byte_table" not in [work.family for work in works]


def test_normalizations_and_attention_write_bytes(tmp_path: Path) -> None:
    net = QuantizedNet(_Fixed(), np.random.default_rng(0), signed=False)
    x = np.random.default_rng(1).standard_normal((2, 16, 32)).astype(np.float32)
    net.constants |= {"gain": np.ones(32, np.float32), "offset": np.zeros(32, np.float32), "none": np.float32(0)}
    source = net.quantized(net.node("LayerNormalization", ["x", "gain", "offset"], "n"), 3.0)
    turned = net.node("Transpose", [source], "t", perm=[0, 2, 1])
    scores = net.quantized(net.node("MatMul", [source, turned], "s"), 30.0)
    weights = net.quantized(net.node("Softmax", [scores], "p", axis=-1), 1.0)
    # Exporters put a guard against rows without any key here; from a grid come numbers only.
    guarded = net.node("Where", [net.node("IsNaN", [weights], "i"), "none", weights], "g")
    output = net.quantized(net.node("MatMul", [guarded, source], "y"), 3.0)
    model = check_net(net, x, output, "y", tmp_path)
    works = {work.family: work for work in groups_of(model)}
    assert works["layer_norm"].output.dtype == "uint8"
    assert "round" in [each.op for each in works["attention"].epilogue.steps]
    assert build_kernel(works["layer_norm"], load_target("host")) is not None


def test_tables_of_words_stay_bytes() -> None:
    net = QuantizedNet(_Fixed(), np.random.default_rng(0), signed=False)
    rng = np.random.default_rng(2)
    net.constants |= {
        "words": rng.integers(0, 256, (1000, 16)).astype(np.uint8),
        "words_scale": np.float32(0.02),
        "words_zero": np.uint8(7),
    }
    net.nodes.append(helper.make_node("DequantizeLinear", ["words", "words_scale", "words_zero"], ["w"]))
    model = model_of(
        [*net.nodes, helper.make_node("Gather", ["w", "x"], ["y"])], {"x": np.zeros(5, np.int64)}, net.constants, ["y"]
    )
    types = [operand.dtype for work in groups_of(model) for operand in work.inputs if operand.shape == (1000, 16)]
    assert types == ["uint8"]
