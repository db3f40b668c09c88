"""Equalization: neighbouring convolutions trade the scales of their channels, so that their ranges are alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph import Array, Graph
from .layers import Layer, attribute

_ROUNDS = 4
_LEAST = 1e-8


def equalize(graph: Graph, layers: Sequence[Layer]) -> int:
    """Conv(w1, b1) -> Relu -> Conv(w2)  -->  Conv(w1 / s, b1 / s) -> Relu -> Conv(w2 * s), exact in real numbers.

    The factors make both weights' ranges of every channel equal, s = sqrt(max|w1| / max|w2|) (Nagel et al.,
    "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1); chains take some rounds.

    Returns:
        How many pairs were equalized; layers must be found again when there are any.
    """
    weights = {layer.name: layer.weight.astype(np.float64) for layer in layers}
    pairs = [pair for layer in layers for pair in _pair(graph, layer, layers)]
    biases = {first.name: _bias(graph, first) for first, _ in pairs}
    for _ in range(_ROUNDS):
        for first, second in pairs:
            group = attribute(second.node, "group", 1)
            one, two = weights[first.name], _by_input(weights[second.name], group)
            high, low = _peaks(one, 0), _peaks(two, 0)
            factor = np.where((high > _LEAST) & (low > _LEAST), np.sqrt(high / np.maximum(low, _LEAST)), 1.0)
            weights[first.name] = one / factor.reshape(-1, *[1] * (one.ndim - 1))
            weights[second.name] = _by_output(two * factor.reshape(-1, *[1] * (two.ndim - 1)), group)
            bias = biases[first.name]
            biases[first.name] = None if bias is None else bias / factor
    for layer in {each.name: each for pair in pairs for each in pair}.values():
        _write(graph, layer, weights[layer.name], biases.get(layer.name))
    graph.reindex()
    return len(pairs)


def _pair(graph: Graph, first: Layer, layers: Sequence[Layer]) -> list[tuple[Layer, Layer]]:
    tensor = first.output
    readers = graph.consumers.get(tensor, [])
    if len(readers) == 1 and readers[0].op_type == "Relu" and tensor not in graph.outputs:
        tensor = readers[0].output[0]
        readers = graph.consumers.get(tensor, [])
    if (
        first.node.op_type != "Conv"
        or len(readers) != 1
        or tensor in graph.outputs
        or not _has_known_bias(graph, first)
    ):
        return []
    second = next((layer for layer in layers if layer.node is readers[0] and layer.node.op_type == "Conv"), None)
    return [] if second is None else [(first, second)]


def _has_known_bias(graph: Graph, layer: Layer) -> bool:
    return layer.bias is None or graph.is_constant(layer.bias)


def _bias(graph: Graph, layer: Layer) -> Array | None:
    value = graph.constant(layer.bias) if layer.bias else None
    return None if value is None else value.astype(np.float64)


def _peaks(weight: Array, axis: int) -> Array:
    return np.asarray(np.abs(weight).max(axis=tuple(each for each in range(weight.ndim) if each != axis)))


def _by_input(weight: Array, group: int) -> Array:
    """[O, I / group, ...] --> [I, O / group, ...]."""
    split = weight.reshape(group, -1, *weight.shape[1:])
    return np.asarray(split.swapaxes(1, 2).reshape(group * weight.shape[1], -1, *weight.shape[2:]))


def _by_output(weight: Array, group: int) -> Array:
    """[I, O / group, ...] --> [O, I / group, ...]: the same exchange again."""
    return _by_input(weight, group)


def _write(graph: Graph, layer: Layer, weight: Array, bias: Array | None) -> None:
    layer.node.input[1] = graph.add_constant(f"{layer.node.input[1]}_equalized", weight.astype(np.float32))
    if bias is not None and layer.bias:
        layer.node.input[2] = graph.add_constant(f"{layer.bias}_equalized", bias.astype(np.float32))
