"""Small networks to quantize, and the digits that the example's network learned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]
DIGITS = Path(__file__).resolve().parents[1] / "examples/digits/digits.onnx"


@dataclass(frozen=True)
class Digits:
    """The example's network, 100 of the images it was trained on, and the 540 it never saw."""

    model: Path
    calibration: Path
    validation: Path


def network(nodes: list[onnx.NodeProto], constants: dict[str, Array], shape: tuple[int, ...]) -> onnx.ModelProto:
    """Return a model from "x" of a shape to the last node's output."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.ValueInfoProto(name=nodes[-1].output[0])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


def convolutions(seed: int = 0) -> onnx.ModelProto:
    """A residual block, uneven channels in its weights, then pooling, a convolution of groups and a dense layer."""
    draw = np.random.default_rng(seed)

    def normal(*shape: int) -> Array:
        return draw.standard_normal(shape).astype("float32") / np.float32(np.sqrt(np.prod(shape[1:]) or 1))

    uneven = normal(8, 4, 3, 3) * np.geomspace(0.1, 10, 8, dtype="float32").reshape(8, 1, 1, 1)
    constants = {
        "w0": normal(4, 3, 3, 3), "b0": normal(4), "w1": uneven, "b1": normal(8), "w2": normal(4, 8, 3, 3),
        "b2": normal(4), "w3": normal(8, 2, 1, 1), "w4": normal(10, 8), "b4": normal(10),
        "gamma": 1 + 0.5 * normal(4), "beta": normal(4), "mean": normal(4), "variance": normal(4) ** 2 + 0.5,
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], "stem", pads=[1] * 4),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("Conv", ["r0", "w1", "b1"], ["c1"], "wide", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "narrow", pads=[1] * 4),
        helper.make_node("BatchNormalization", ["c2", "gamma", "beta", "mean", "variance"], ["n2"], "norm"),
        helper.make_node("Add", ["n2", "r0"], ["s"], "sum"),
        helper.make_node("MaxPool", ["s"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p", "w3"], ["c3"], "grouped", group=2),
        helper.make_node("GlobalAveragePool", ["c3"], ["g"], "mean"),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w4", "b4"], ["y"], "dense", transB=1),
    ]
    return network(nodes, constants, (1, 3, 8, 8))
