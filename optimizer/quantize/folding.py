"""Folding that quantization asks for: normalizations of batches into weights, constants behind constants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto

from ...errors import UserError
from ..graph import Graph, copy_of
from .layers import Layer, attribute, find_layers


def fold_batch_norms(graph: Graph) -> None:
    """Conv(x, w, b) -> BatchNormalization  -->  Conv(x, w * f, (b - mean) * f + beta) where f = gamma / deviation.

    A convolution whose output something else reads, and one whose weight is computed, is left alone.
    """
    for norm in [node for node in graph.nodes if node.op_type == "BatchNormalization" and len(node.output) == 1]:
        conv = graph.producer.get(norm.input[0])
        parameters = [graph.constant(name) for name in norm.input[1:5]]
        if conv is None or conv.op_type != "Conv" or any(each is None for each in parameters):
            continue
        weight = graph.constant(conv.input[1])
        bias = graph.constant(conv.input[2]) if len(conv.input) > 2 and conv.input[2] else None
        computed = len(conv.input) > 2 and bool(conv.input[2]) and bias is None
        if weight is None or computed or len(graph.consumers[norm.input[0]]) != 1 or conv.output[0] in graph.outputs:
            continue
        gamma, beta, mean, variance = (np.asarray(each, np.float64) for each in parameters)
        factor = gamma / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
        shifted = (0.0 if bias is None else bias.astype(np.float64)) - mean
        folded = weight.astype(np.float64) * factor.reshape(-1, *[1] * (weight.ndim - 1))
        name = conv.input[1]
        inputs = [
            conv.input[0],
            graph.add_constant(f"{name}_folded", folded.astype(weight.dtype)),
            graph.add_constant(f"{name}_bias", (shifted * factor + beta).astype(weight.dtype)),
        ]
        del conv.input[:]
        conv.input.extend(inputs)
        conv.output[0] = norm.output[0]
        graph.remove(norm)
        graph.reindex()


def fold_transposed_weights(graph: Graph) -> None:
    """Transpose(constant) or Identity(constant)  -->  constant: exporters leave weights behind them."""
    for node in list(graph.nodes):
        value = graph.constant(node.input[0]) if node.op_type in ("Transpose", "Identity") and node.input else None
        if value is None or node.output[0] in graph.outputs:
            continue
        folded = np.transpose(value, attribute(node, "perm", None)) if node.op_type == "Transpose" else value
        name = graph.add_constant(f"{node.output[0]}_folded", folded)
        for reader in graph.consumers.get(node.output[0], []):
            for index, each in enumerate(reader.input):
                if each == node.output[0]:
                    reader.input[index] = name
        graph.remove(node)
        graph.reindex()


def folded_graph(model: ModelProto, path: Path) -> tuple[Graph, list[Layer]]:
    """Return a copy of a model with constants and normalizations folded, and its layers.

    Raises UserError when there is nothing to quantize.
    """
    graph = Graph(copy_of(model), path)
    fold_transposed_weights(graph)
    fold_batch_norms(graph)
    layers = find_layers(graph)
    if not layers:
        raise UserError(
            f"{path}: there is nothing to quantize: no convolution or matrix product has a constant float32 weight"
        )
    return graph, layers
