"""Random quantized graphs, as tools write them, against onnxruntime, on vectors of every width."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import model_of
from quantized_nets import QuantizedNet, check_net, reference

#: With dot products of bytes, without them in 256 bits, and in 128.
_TARGETS = ("host", "x86-64-v3", "x86-64")


class _Graph:
    """A quantized graph that grows from its tensors of four axes.

    Attributes:
        tensors: names of dequantized tensors with their shapes.
    """

    def __init__(self, draw: Any) -> None:
        self.draw, self.rng = draw, np.random.default_rng(draw(st.integers(0, 999)))
        self.net = QuantizedNet(draw, self.rng, draw(st.booleans(), label="signed"))
        size = draw(st.integers(4, 9))
        self.x = self.rng.standard_normal((2, draw(st.sampled_from([3, 16, 20])), size, size + 1)).astype(np.float32)
        self.tensors: list[tuple[str, tuple[int, ...]]] = []
        self.count = 0
        self.quantize("x")

    def quantize(self, name: str) -> None:
        """Add a tensor's way to a grid that covers what it holds, by and large."""
        model = model_of(self.net.nodes, {"x": self.x}, self.net.constants, [name], opset=17) if name != "x" else None
        values = reference(model, self.x) if model else self.x
        span = float(np.abs(values).max()) * self.draw(st.sampled_from([0.6, 1.0, 1.3]), label="share") + 1e-3
        if name == "x" and self.net.kind == "int8":
            span *= 2
        self.tensors.append((self.net.quantized(name, span), values.shape))

    def node(self, operator: str, inputs: list[str], **attributes: Any) -> None:
        """Add an operator, its result quantized."""
        self.count += 1
        name = f"t{self.count}"
        self.quantize(self.net.node(operator, inputs, name, **attributes))
        self.last = name

    def any(self, fits: Callable[[tuple[int, ...]], bool] = lambda _: True) -> tuple[str, tuple[int, ...]]:
        """Draw a tensor."""
        return self.draw(st.sampled_from([each for each in self.tensors if fits(each[1])]))  # type: ignore[no-any-return]

    def weight(self, shape: tuple[int, ...], axis: int) -> str:
        """Add weights."""
        self.count += 1
        return self.net.weight(f"w{self.count}", shape, axis)


def _convolution(graph: _Graph) -> None:
    name, (_, channels, height, _) = graph.any()
    depthwise = graph.draw(st.booleans(), label="depthwise")
    kernel = graph.draw(st.sampled_from([1, 3] if height > 2 else [1]))
    outputs = channels if depthwise else graph.draw(st.integers(1, 24))
    weight = graph.weight((outputs, 1 if depthwise else channels, kernel, kernel), 0)
    graph.net.constants[f"{weight}_bias"] = graph.rng.standard_normal(outputs).astype(np.float32)
    pads, stride = [kernel // 2] * 4, graph.draw(st.integers(1, 2))
    graph.node(
        "Conv", [name, weight, f"{weight}_bias"], pads=pads, strides=[stride] * 2, group=channels if depthwise else 1
    )


def _binary(operator: str) -> Callable[[_Graph], None]:
    def add(graph: _Graph) -> None:
        one, shape = graph.any()
        other, _ = graph.any(lambda each: each == shape)
        graph.node(operator, [one, other])

    return add


def _concat(graph: _Graph) -> None:
    one, shape = graph.any()
    other, _ = graph.any(lambda each: each[:1] + each[2:] == shape[:1] + shape[2:])
    graph.node("Concat", [one, other], axis=1)


def _pool(operator: str) -> Callable[[_Graph], None]:
    def add(graph: _Graph) -> None:
        name, (*_, height, width) = graph.any()
        window = [min(2, height), min(2, width)]
        graph.node(operator, [name], kernel_shape=window, strides=[graph.draw(st.integers(1, 2))] * 2)

    return add


def _resize(graph: _Graph) -> None:
    name, _ = graph.any(lambda each: each[2] * each[3] <= 200)
    graph.net.constants["scales"] = np.array([1, 1, 2, 2], np.float32)
    mode = graph.draw(st.sampled_from(["nearest", "linear"]))
    graph.node("Resize", [name, "", "scales"], mode=mode, coordinate_transformation_mode="asymmetric")


def _unary(operator: str, **attributes: Any) -> Callable[[_Graph], None]:
    def add(graph: _Graph) -> None:
        graph.node(operator, [graph.any()[0]], **attributes)

    return add


def _product(graph: _Graph) -> None:
    name, shape = graph.any()
    graph.node("MatMul", [name, graph.weight((shape[-1], graph.draw(st.integers(1, 20))), 1)])


def _affine(graph: _Graph) -> None:
    name, shape = graph.any()
    flat = graph.net.node("Flatten", [name], f"f{graph.count}")
    weight = graph.weight((12, int(np.prod(shape[1:]))), 0)
    graph.count += 1
    graph.net.constants[f"{weight}_bias"] = graph.rng.standard_normal(12).astype(np.float32)
    graph.net.node("Gemm", [flat, weight, f"{weight}_bias"], f"g{graph.count}", transB=1)
    graph.net.constants["rows"] = np.array([2, 12, 1, 1], np.int64)
    graph.node("Reshape", [f"g{graph.count}", "rows"])


_STEPS: tuple[Callable[[_Graph], None], ...] = (
    _convolution, _convolution, _binary("Add"), _binary("Mul"), _concat, _pool("MaxPool"), _pool("AveragePool"),
    _resize,
    _unary("Sigmoid"), _unary("Relu"), _unary("Tanh"), _unary("LeakyRelu", alpha=0.1), _unary("HardSigmoid"),
    _unary("GlobalAveragePool"), _unary("Transpose", perm=[0, 1, 3, 2]), _unary("Softmax", axis=-1), _product, _affine,
)  # fmt: skip


def check_random_graph(draw: Any, target: str, directory: Path) -> None:
    """Draw a graph and compare the last of its tensors."""
    graph = _Graph(draw)
    for _ in range(draw(st.integers(1, 4))):
        draw(st.sampled_from(_STEPS))(graph)
    check_net(graph.net, graph.x, graph.tensors[-1][0], graph.last, directory, target)


@pytest.mark.parametrize("target", _TARGETS)
def test_random_graphs(target: str, tmp_path_factory: Any) -> None:
    @settings(max_examples=4, deadline=None, derandomize=True)
    @given(st.data())
    def check(data: Any) -> None:
        check_random_graph(data.draw, target, tmp_path_factory.mktemp("net"))

    check()
