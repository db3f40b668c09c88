"""LSTM, GRU and RNN in numpy, one step after the other, in float64: the reference of recurrence kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilewright.recurrent import Recurrence
from tilewright.recurrent_activations import Activation

Array = NDArray[Any]

FUNCTIONS = {
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
    "Relu": lambda x: np.maximum(x, 0),
    "LeakyRelu": lambda x, alpha: np.where(x < 0, alpha * x, x),
    "Affine": lambda x, alpha, beta: alpha * x + beta,
    "HardSigmoid": lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
    "ScaledTanh": lambda x, alpha, beta: alpha * np.tanh(beta * x),
    "ThresholdedRelu": lambda x, alpha: np.where(x >= alpha, x, 0),
    "Elu": lambda x, alpha: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Softplus": lambda x: np.logaddexp(x, 0),
}


def recur(recurrence: Recurrence, gates: Array, weights: Array, optional: Mapping[str, Array]) -> list[Array]:
    """Return all states [S, B, D, H], the last one [D, B, H] and, of an LSTM, the last cell."""
    steps, batch, directions, _, units = gates.shape
    wide = {name: each.astype("float64") for name, each in optional.items()}
    states = np.zeros((steps, batch, directions, units))
    last, cells = (np.zeros((directions, batch, units)) for _ in range(2))
    for d, backwards in enumerate(recurrence.backwards):
        for b in range(batch):
            length = min(steps, int(wide["lengths"][b])) if "lengths" in wide else steps
            h, c = (
                wide[name][d, b] if name in wide and length > 0 else np.zeros(units)
                for name in ("initial_h", "initial_c")
            )
            for t in range(length)[::-1] if backwards else range(length):
                h, c = _step(recurrence, d, gates[t, b, d].astype("float64"), weights[d].astype("float64"), wide, h, c)
                states[t, b, d] = h
            last[d, b], cells[d, b] = h, c
    return [states, last, cells] if recurrence.cell else [states, last]


def _step(r: Recurrence, d: int, x: Array, w: Array, wide: Mapping[str, Array], h: Array, c: Array) -> Any:
    def activated(index: int, total: Array) -> Array:
        return _activation(r.activations[d][index], np.clip(total, -r.clip, r.clip) if r.clip else total)

    if r.kind == "rnn":
        return activated(0, x[0] + w[0] @ h), c
    if r.kind == "gru":
        z, reset = (activated(0, x[g] + w[g] @ h) for g in (0, 1))
        bias = wide["bias"][d] if "bias" in wide else 0
        product = reset * (w[2] @ h + bias) if r.linear_before_reset else w[2] @ (reset * h)
        return (1 - z) * activated(1, x[2] + product) + z * h, c
    p = wide["peephole"][d] if "peephole" in wide else np.zeros((3, 1))
    sums = [x[g] + w[g] @ h for g in range(4)]
    i = activated(0, sums[0] + p[0] * c)
    f = 1 - i if r.input_forget else activated(0, sums[2] + p[2] * c)
    c = f * c + i * activated(1, sums[3])
    o = activated(0, sums[1] + p[1] * c)
    return o * _activation(r.activations[d][2], c), c


def _activation(activation: Activation, value: Array) -> Array:
    result: Array = FUNCTIONS[activation.name](value, *activation.parameters)  # type: ignore[operator]
    return result
