"""Blocks of mobile networks, from a model file to a library whose convolutions are joined, against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import NodeProto, helper
from onnx_models import Array, model_of, normal

import tilewright
from tilewright.runtime import load

CHANNELS, HIDDEN, SIZE = 16, 56, 46


def conv(data: str, name: str, result: str, **attrs: int | list[int]) -> NodeProto:
    return helper.make_node("Conv", [data, f"w{name}", f"b{name}"], [result], **attrs)


def swish(data: str, result: str) -> list[NodeProto]:
    return [
        helper.make_node("Sigmoid", [data], [f"{result}s"]),
        helper.make_node("Mul", [data, f"{result}s"], [result]),
    ]


def inverted_residual(name: str, data: str, result: str, stride: int) -> list[NodeProto]:
    """A block of MobileNetV2; by 1 with its residual."""
    narrow = f"{result}n" if stride == 1 else result
    residual = [helper.make_node("Add", [narrow, data], [result])] if stride == 1 else []
    return [
        conv(data, f"{name}e", f"{name}0"),
        helper.make_node("Clip", [f"{name}0", "zero", "six"], [f"{name}1"]),
        conv(f"{name}1", f"{name}d", f"{name}2", group=HIDDEN, pads=[1] * 4, strides=[stride] * 2),
        helper.make_node("Clip", [f"{name}2", "zero", "six"], [f"{name}3"]),
        conv(f"{name}3", f"{name}p", narrow),
        *residual,
    ]


def squeeze_and_excite(data: str, result: str) -> list[NodeProto]:
    """A block of EfficientNet: all channels scaled by what their means say, before the projection."""
    return [
        conv(data, "se", "s0"),
        *swish("s0", "s1"),
        conv("s1", "sd", "s2", group=HIDDEN, pads=[2] * 4),
        *swish("s2", "s3"),
        helper.make_node("GlobalAveragePool", ["s3"], ["s4"]),
        helper.make_node("Sigmoid", ["s4"], ["s5"]),
        helper.make_node("Mul", ["s3", "s5"], ["s6"]),
        conv("s6", "sp", result),
    ]


def weights() -> dict[str, Array]:
    found: dict[str, Array] = {"zero": np.float32(0), "six": np.float32(6)}
    for at, (name, taps) in enumerate((("a", 3), ("b", 3), ("s", 5))):
        shapes = {"e": (HIDDEN, CHANNELS, 1, 1), "d": (HIDDEN, 1, taps, taps), "p": (CHANNELS, HIDDEN, 1, 1)}
        for seed, (stage, shape) in enumerate(shapes.items()):
            found[f"w{name}{stage}"] = normal(*shape, seed=at + seed) / np.float32(np.sqrt(np.prod(shape[1:])))
            found[f"b{name}{stage}"] = normal(shape[0], seed=7 * at + seed)
    return found


@pytest.mark.parametrize(("target", "threads"), [("host", 1), ("host", 2), ("x86-64", 2)])
def test_agrees_with_onnxruntime(tmp_path: Path, target: str, threads: int) -> None:
    inputs = {"x": normal(1, CHANNELS, SIZE, SIZE)}
    nodes = [
        *inverted_residual("a", "x", "y", 1),
        *inverted_residual("b", "y", "z", 2),
        *squeeze_and_excite("z", "out"),
    ]
    path = tmp_path / "blocks.onnx"
    path.write_bytes(model_of(nodes, inputs, weights()).SerializeToString())
    (expected,) = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, inputs)
    library = load(tilewright.compile(path, target=target).save(tmp_path / "blocks.so"), threads=threads)
    np.testing.assert_allclose(library(**inputs)["out"], expected, rtol=1e-4, atol=1e-5)
    chains = [step.name for step in library.profile(**inputs) if "fused_conv2d_chain" in step.name]
    # How many cores and caches the host has decides there.
    assert target == "host" or len(chains) == 3
