"""Writing quantize/dequantize pairs: u8 activations of one scale a tensor, s8 weights of one scale a channel."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from onnx import NodeProto

from ..graph import Array, Graph
from .calibration import Range, Statistics
from .layers import Layer
from .placement import Placement
from .scales import Affine, activation_scale, dequantize, quantize, weight_scale


def write_pairs(
    graph: Graph,
    layers: Sequence[Layer],
    placement: Placement,
    ranges: Mapping[str, Range],
    statistics: Mapping[str, Statistics],
    *,
    weights_only: Collection[str] = (),
    correct_bias: bool = True,
) -> None:
    """Quantize a graph in place.

    x -> layer(x, w, b)  -->  x -> Q -> DQ -> layer(., DQ(w8), DQ(b32))

    Args:
        layers: those to quantize.
        ranges: of every tensor that shares its range with itself in the placement.
        statistics: means of the channels, for the correction of biases.
        weights_only: names of layers that read floats.
        correct_bias: move biases by the mean error that rounding the weight makes (see ``bias_error``).
    """
    scales = {name: activation_scale(*ranges[root]) for name, root in placement.tensors.items() if root in ranges}
    for layer in layers:
        means = statistics[layer.activation].channel_mean if correct_bias else None
        if layer.name in weights_only:
            _quantize_weight(graph, layer, weight_scale(layer.weight, layer.axis), means)
        elif layer.activation in scales:
            _quantize_layer(graph, layer, scales[layer.activation], means)
    for name, affine in scales.items():
        _quantize_activation(graph, placement, name, affine)


def bias_error(layer: Layer, rounded: Array, means: Array) -> Array:
    """Return the mean error of each output channel that a rounded weight makes.

    The inputs' means stand for the inputs, so that no run of the quantized model is needed (as in Nagel et al.,
    "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2, with measured means).
    """
    return layer.row.project(layer.node, rounded.astype(np.float64) - layer.weight, means)


def _quantize_layer(graph: Graph, layer: Layer, affine: Affine, means: Array | None) -> None:
    bias = graph.constant(layer.bias) if layer.bias else None
    if bias is not None and bias.size != layer.weight.shape[layer.axis]:
        bias = None
    flat = None if bias is None else bias.reshape(-1)
    weight = weight_scale(layer.weight, layer.axis, flat, float(affine.scale))
    error = _quantize_weight(graph, layer, weight, means)
    if flat is not None and layer.row.bias is not None:
        corrected = flat if error is None else flat - error
        scale = (weight.scale * affine.scale).astype(np.float32)
        limits = Affine(scale, np.zeros(len(scale), np.int32), 0)
        name = layer.node.input[layer.row.bias]
        layer.node.input[layer.row.bias] = _dequantized(
            graph, layer.node, name, quantize(corrected, limits), limits, bias_shape=corrected.shape
        )


def _quantize_weight(graph: Graph, layer: Layer, affine: Affine, means: Array | None) -> Array | None:
    """Quantize a layer's weight; return what that does to its outputs on the average, where a bias behind it is not
    made up for it."""
    integers = quantize(layer.weight, affine)
    layer.node.input[1] = _dequantized(graph, layer.node, layer.node.input[1], integers, affine)
    error = None if means is None else bias_error(layer, dequantize(integers, affine), means)
    if error is not None and not layer.bias:
        _correct_following_add(graph, layer, error)
    return error


def _correct_following_add(graph: Graph, layer: Layer, error: Array) -> None:
    """MatMul -> Add(b)  -->  MatMul -> Add(b - error), where nothing else reads the product."""
    readers = graph.consumers.get(layer.output, [])
    if len(readers) != 1 or readers[0].op_type != "Add" or layer.output in graph.outputs:
        return
    index = 1 if readers[0].input[0] == layer.output else 0
    bias = graph.constant(readers[0].input[index])
    if bias is not None and bias.dtype == np.float32 and bias.shape == error.shape:
        name = readers[0].input[index]
        readers[0].input[index] = graph.add_constant(f"{name}_corrected", (bias - error).astype(np.float32))


def _dequantized(
    graph: Graph,
    reader: NodeProto,
    name: str,
    integers: Array,
    affine: Affine,
    bias_shape: tuple[int, ...] | None = None,
) -> str:
    inputs = [graph.add_constant(f"{name}_quantized", integers), graph.add_constant(f"{name}_scale", affine.scale)]
    if bias_shape is None:
        inputs.append(graph.add_constant(f"{name}_zero_point", affine.zero_point))
    axis = {} if affine.axis is None else {"axis": affine.axis}
    node = graph.node("DequantizeLinear", inputs, f"{name}_dequantized", **axis)
    graph.insert(reader, [node])
    return str(node.output[0])


def _quantize_activation(graph: Graph, placement: Placement, name: str, affine: Affine) -> None:
    readers = [node for node in graph.consumers.get(name, []) if (node.name, name) in placement.readers]
    if not readers:
        return
    scale = graph.add_constant(f"{name}_scale", affine.scale)
    zero = graph.add_constant(f"{name}_zero_point", affine.zero_point)
    down = graph.node("QuantizeLinear", [name, scale, zero], f"{name}_quantized")
    up = graph.node("DequantizeLinear", [down.output[0], scale, zero], f"{name}_dequantized")
    for node in readers:
        for index, each in enumerate(node.input):
            if each == name:
                node.input[index] = up.output[0]
    graph.insert(readers[0], [down, up])
