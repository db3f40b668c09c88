"""No kernel reads or writes outside its buffers, at either end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import tilewright

Array = NDArray[np.float32]
RUNNER = Path(__file__).with_name("guarded_run.py")


class Net:
    """A chain of ONNX nodes on one value, with weights drawn at random."""

    def __init__(self, *shape: int) -> None:
        self.draw = np.random.default_rng(len(shape))
        self.inputs = {"x": self._normal(shape)}
        self.value = "x"
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def _normal(self, shape: Sequence[int]) -> Array:
        return self.draw.standard_normal(shape).astype("float32")

    def weight(self, *shape: int) -> str:
        """Return the name of a new constant, scaled so that values stay near 1."""
        name = f"w{len(self.weights)}"
        scale = float(np.sqrt(1 / max(1, np.prod(shape[1:]))))
        self.weights.append(numpy_helper.from_array(self._normal(shape) * np.float32(scale), name))
        return name

    def input(self, *shape: int) -> str:
        """Return the name of a further input."""
        name = f"x{len(self.inputs)}"
        self.inputs[name] = self._normal(shape)
        return name

    def add(self, operator: str, *others: str, **attributes: object) -> Net:
        """Apply an operator to the value and other operands."""
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [self.value, *others], [output], **attributes))
        self.value = output
        return self

    def save(self, path: Path) -> Path:
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name, x in self.inputs.items()]
        output = helper.make_tensor_value_info(self.value, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "net", inputs, [output], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(onnx.shape_inference.infer_shapes(model), path)
        return path


def winograd() -> Net:
    net = Net(1, 32, 28, 28)
    for _ in range(2):
        net.add("Conv", net.weight(32, 32, 3, 3), net.weight(32), pads=[1, 1, 1, 1]).add("Relu")
    return net


def odd_channels() -> Net:
    net = Net(1, 3, 13, 11)
    net.add("Conv", net.weight(7, 3, 5, 5), net.weight(7), pads=[2, 2, 2, 2], strides=[2, 2]).add("Relu")
    net.add("Conv", net.weight(5, 7, 3, 3), net.weight(5), pads=[0, 1, 1, 0]).add("Add", net.input(1, 5, 6, 5))
    return net.add("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])


def depthwise() -> Net:
    net = Net(1, 19, 9, 9)
    net.add("Conv", net.weight(19, 1, 3, 3), net.weight(19), group=19, pads=[1, 1, 1, 1], strides=[2, 2]).add("Relu")
    return net.add("Conv", net.weight(21, 19, 1, 1), net.weight(21)).add("GlobalAveragePool")


def grouped_and_dilated() -> Net:
    net = Net(1, 12, 10, 10)
    net.add("Conv", net.weight(18, 4, 3, 3), group=3, pads=[1, 1, 1, 1])
    return net.add("Conv", net.weight(4, 18, 3, 3), dilations=[2, 2], pads=[2, 2, 2, 2]).add("Sigmoid")


def products() -> Net:
    net = Net(7, 33)
    net.add("MatMul", net.weight(33, 19)).add("Add", net.weight(19)).add("Tanh")
    return net.add("MatMul", net.input(19, 3)).add("Softmax", axis=-1)


def one_row() -> Net:
    net = Net(1, 37)
    return net.add("Gemm", net.weight(41, 37), net.weight(41), transB=1).add("Relu").add("MatMul", net.weight(41, 1))


def attention() -> Net:
    net = Net(2, 5, 7, 9)
    net.add("Transpose", perm=[0, 2, 1, 3]).add("MatMul", net.input(2, 7, 9, 5)).add("Softmax", axis=-1)
    return net.add("LayerNormalization", net.weight(5), net.weight(5), axis=-1)


def elements() -> Net:
    net = Net(3, 5, 7)
    net.add("Mul", net.input(5, 1)).add("Exp").add("ReduceMean", axes=[1], keepdims=0)
    return net.add("Transpose", perm=[1, 0])


NETS = (winograd, odd_channels, depthwise, grouped_and_dilated, products, one_row, attention, elements)


@pytest.mark.parametrize("target", ["host", "x86-64-v3", "x86-64"])
@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
def test_kernels_stay_inside_their_buffers(make: object, target: str, tmp_path: Path) -> None:
    net = make()
    model = net.save(tmp_path / "net.onnx")
    library = tilewright.compile(model, target=target, jobs=1).save(tmp_path / "net.so")
    np.savez(tmp_path / "inputs.npz", **net.inputs)
    (expected,) = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"]).run(None, net.inputs)
    for side in ("front", "back"):
        files = [library, tmp_path / "inputs.npz", tmp_path / f"{side}.npz"]
        done = subprocess.run([sys.executable, RUNNER, *files, side], capture_output=True, text=True)
        assert done.returncode == 0, f"{side}: {done.returncode} {done.stderr}"
        with np.load(tmp_path / f"{side}.npz") as outputs:
            (result,) = outputs.values()
        np.testing.assert_allclose(result, expected.ravel(), rtol=1e-5, atol=2e-6 * np.abs(expected).max())
