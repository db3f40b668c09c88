"""Layers that can be quantized: for each operator, where its activations, weight and bias stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from ...registry import Registry
from ..graph import Graph

Array = NDArray[Any]


@dataclass(frozen=True)
class LayerRow:
    """What an operator's inputs are.

    Attributes:
        weight_axis: from a node and its weight's shape to the axis of the weight's output channels.
        input_axis: the axis of the channels in the activation.
        bias: the index of the bias among the inputs; None where the operator has none.
        takes: whether a node with such attributes can be quantized.
        project: from (node, weight error, mean of each input channel) to the mean error of each output channel.
    """

    weight_axis: Callable[[NodeProto, tuple[int, ...]], int]
    input_axis: int
    bias: int | None
    takes: Callable[[NodeProto], bool]
    project: Callable[[NodeProto, Array, Array], Array]


@dataclass(frozen=True)
class Layer:
    """A node with a constant weight: the unit that is quantized, or kept in floats.

    Attributes:
        node: the node; its input 0 is the activation, its input 1 the weight.
        weight: the weight's elements.
        axis: the axis of the weight's output channels.
    """

    node: NodeProto
    row: LayerRow
    weight: Array
    axis: int

    @property
    def name(self) -> str:
        """The node's name."""
        return str(self.node.name)

    @property
    def activation(self) -> str:
        """The tensor it reads."""
        return str(self.node.input[0])

    @property
    def output(self) -> str:
        """The tensor it makes."""
        return str(self.node.output[0])

    @property
    def bias(self) -> str | None:
        """The name of its bias, or None."""
        index = self.row.bias
        return self.node.input[index] or None if index is not None and len(self.node.input) > index else None


LAYERS: Registry[LayerRow] = Registry("layer that can be quantized")


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """Return an attribute of a node, or the default."""
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def find_layers(graph: Graph) -> list[Layer]:
    """Return the layers of a graph, in its order."""
    found = []
    for node in graph.nodes:
        row = LAYERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        weight = graph.constant(node.input[1]) if row is not None and len(node.input) > 1 else None
        if row is None or weight is None or weight.dtype != np.float32 or graph.is_constant(node.input[0]):
            continue
        if weight.ndim >= 2 and weight.size and row.takes(node):
            found.append(Layer(node, row, weight, row.weight_axis(node, weight.shape)))
    return found


def _convolved(node: NodeProto, error: Array, mean: Array) -> Array:
    group = attribute(node, "group", 1)
    summed = error.reshape(*error.shape[:2], -1).sum(axis=2)
    means = mean.reshape(group, -1)[np.arange(len(error)) * group // len(error)]
    return np.asarray((summed * means).sum(axis=1))


def _multiplied(node: NodeProto, error: Array, mean: Array) -> Array:
    if error.ndim != 2:
        return np.zeros(error.shape[-1])
    return np.asarray(mean @ (error.T if attribute(node, "transB", 0) else error))


def _deconvolved(node: NodeProto, error: Array, mean: Array) -> Array:
    # A stride leaves each output a part of the kernel only; the mean over outputs is the whole sum over the strides.
    strides = attribute(node, "strides", [1])
    return np.asarray(mean @ error.reshape(*error.shape[:2], -1).sum(axis=2)) / float(np.prod(strides))


LAYERS.add("Conv", LayerRow(lambda node, shape: 0, 1, 2, lambda node: True, _convolved))
LAYERS.add(
    "ConvTranspose",
    LayerRow(lambda node, shape: 1, 1, 2, lambda node: attribute(node, "group", 1) == 1, _deconvolved),
)
LAYERS.add("MatMul", LayerRow(lambda node, shape: len(shape) - 1, -1, None, lambda node: True, _multiplied))
LAYERS.add(
    "Gemm",
    LayerRow(
        lambda node, shape: 0 if attribute(node, "transB", 0) else 1,
        -1,
        2,
        lambda node: (
            not attribute(node, "transA", 0)
            and attribute(node, "alpha", 1.0) == 1.0
            and attribute(node, "beta", 1.0) == 1.0
        ),
        _multiplied,
    ),
)
