"""Smoothing: what is hard to quantize in the activations is moved into the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..graph import Array, Graph
from .calibration import Statistics
from .layers import Layer

_LEAST = 1e-5
#: Beyond these the range of the calibration's samples is too narrow for others.
_STRENGTHS = (0.3, 0.4, 0.5, 0.6, 0.7)


def smooth(
    graph: Graph,
    layers: Sequence[Layer],
    statistics: Mapping[str, Statistics],
    strength: float | None = None,
    least_sqnr: float = 0.0,
) -> frozenset[str]:
    """x -> MatMul(w)  -->  x -> Mul(1 / s) -> MatMul(s * w), with a factor s for each channel of x.

    Layers that read the same tensor share the factors: s = max|x|^strength / max|w|^(1 - strength), as in Xiao et al.,
    "SmoothQuant" (2023), section 4.

    Args:
        strength: near 0 leaves the activations alone, 1 moves all into the weights; None takes for each tensor the one
            of several, or none at all, that leaves least noise (see ``_noise``).
        least_sqnr: a tensor whose rounding to bytes would still be louder in the products, in decibels, is left alone.

    Returns:
        The names of the layers that read such tensors. Layers must be found again.
    """
    readers: dict[str, list[Layer]] = {}
    for layer in layers:
        if layer.node.op_type == "MatMul" and layer.weight.ndim == 2:
            readers.setdefault(layer.activation, []).append(layer)
    loud: set[str] = set()
    for tensor, group in readers.items():
        seen = statistics[tensor]
        if seen.channel_peak is None or any(len(layer.weight) != len(seen.channel_peak) for layer in group):
            continue
        weight = np.concatenate([layer.weight for layer in group], axis=1).astype(np.float64)
        tried = _STRENGTHS if strength is None else (strength,) if strength else ()
        candidates = [_factors(seen.channel_peak, weight, each) for each in tried]
        if not strength:
            candidates.append(np.ones(len(weight), np.float32))
        best = min(candidates, key=lambda factor: sum(_noise(seen, weight, factor)))
        if _sqnr(seen, weight, best) < least_sqnr:
            loud.update(layer.name for layer in group)
        elif not (best == 1).all():
            _divide(graph, tensor, group, best)
    graph.reindex()
    return frozenset(loud)


def _factors(peak: Array, weight: Array, strength: float) -> Array:
    rows = np.abs(weight).max(axis=1)
    factor = np.maximum(peak, _LEAST) ** strength / np.maximum(rows, _LEAST) ** (1 - strength)
    return np.where((peak > _LEAST) & (rows > _LEAST), factor, 1.0).astype(np.float32)


def _noise(seen: Statistics, weight: Array, factor: Array) -> tuple[float, float]:
    """Return the noise that rounding activations, and weights, makes in the products, up to a constant.

    A step of the activations meets every weight, a step of a column of weights meets every activation; rounding to a
    step makes an error of a twelfth of its square, independent of all others.
    """
    assert seen.channel_peak is not None
    assert seen.channel_power is not None
    scaled = weight * factor[:, None]
    activation_step = 2 * float((seen.channel_peak / factor).max()) / 255
    weight_steps = np.abs(scaled).max(axis=0) / 127
    power = seen.channel_power / seen.channel_count / np.square(factor)
    return float(activation_step**2 * np.square(scaled).sum()), float(np.square(weight_steps).sum() * power.sum())


def _sqnr(seen: Statistics, weight: Array, factor: Array) -> float:
    """Return the products' ratio of signal to the noise of rounded activations in decibels, channels uncorrelated."""
    assert seen.channel_power is not None
    signal = float((seen.channel_power / seen.channel_count * np.square(weight).sum(axis=1)).sum())
    noise = _noise(seen, weight, factor)[0] / 12
    return 10 * float(np.log10(signal / noise)) if signal and noise else np.inf


def _divide(graph: Graph, tensor: str, group: Sequence[Layer], factor: Array) -> None:
    inverse = graph.add_constant(f"{tensor}_smoothing", (1 / factor).astype(np.float32))
    scaled = graph.node("Mul", [tensor, inverse], f"{tensor}_smoothed")
    graph.insert(group[0].node, [scaled])
    for layer in group:
        layer.node.input[0] = scaled.output[0]
        layer.node.input[1] = graph.add_constant(f"{layer.node.input[1]}_smoothed", layer.weight * factor[:, None])
