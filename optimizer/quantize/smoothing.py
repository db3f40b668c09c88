"""Smoothing: what is hard to quantize in the activations is moved into the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..graph import Array, Graph
from .calibration import Statistics
from .layers import Layer

_LEAST = 1e-5


def smooth(graph: Graph, layers: Sequence[Layer], statistics: Mapping[str, Statistics], strength: float) -> int:
    """x -> MatMul(w)  -->  x -> Mul(1 / s) -> MatMul(s * w), with a factor s for each channel of x.

    Layers that read the same tensor share the factors: s = max|x|^strength / max|w|^(1 - strength), as in Xiao et al.,
    "SmoothQuant" (2023), section 4.

    Args:
        strength: 0 leaves the activations alone, 1 moves all into the weights.

    Returns:
        How many tensors were smoothed; layers must be found again when there are any.
    """
    readers: dict[str, list[Layer]] = {}
    for layer in layers:
        if layer.node.op_type == "MatMul" and layer.weight.ndim == 2:
            readers.setdefault(layer.activation, []).append(layer)
    count = 0
    for tensor, group in readers.items():
        peak = statistics[tensor].channel_peak
        rows = [layer.weight for layer in group]
        if peak is None or any(len(each) != len(peak) for each in rows):
            continue
        weights = np.max([np.abs(each).max(axis=1) for each in rows], axis=0)
        factor = np.maximum(peak, _LEAST) ** strength / np.maximum(weights, _LEAST) ** (1 - strength)
        factor = np.where((peak > _LEAST) & (weights > _LEAST), factor, 1.0).astype(np.float32)
        _divide(graph, tensor, group, factor)
        count += 1
    graph.reindex()
    return count


def _divide(graph: Graph, tensor: str, group: Sequence[Layer], factor: Array) -> None:
    inverse = graph.add_constant(f"{tensor}_smoothing", (1 / factor).astype(np.float32))
    scaled = graph.node("Mul", [tensor, inverse], f"{tensor}_smoothed")
    graph.insert(group[0].node, [scaled])
    for layer in group:
        layer.node.input[0] = scaled.output[0]
        layer.node.input[1] = graph.add_constant(f"{layer.node.input[1]}_smoothed", layer.weight * factor[:, None])
