"""Rounding with feedback: the error of a rounded weight is made up for by those that are rounded after it.

After Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers" (2023). Which
other weights make up for an error, and by how much, the second moments of the layer's inputs tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import ModelProto

from ..data import Sample
from ..executor import Executor
from ..graph import Array
from .layers import Layer

#: What is added to the moments' diagonal, of its mean: inputs that samples do not tell apart stay apart.
_DAMPING = 0.01


def second_moments(model: ModelProto, layers: Sequence[Layer], samples: Sequence[Sample]) -> dict[str, Array]:
    """Return the sums of products of any two inputs, [K, K] float64, for every tensor that a product [.., K] reads."""
    tensors = list(dict.fromkeys(each.activation for each in layers if each.weight.ndim == 2))
    sums: dict[str, Array] = {}
    run = Executor(model, tensors)
    for sample in samples:
        for name, values in run(sample.inputs).items():
            rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
            sums[name] = sums.get(name, 0.0) + rows.T @ rows
    return {name: each for name, each in sums.items() if np.isfinite(each).all()}


def rounded_with_feedback(
    weight: Array, moments: Array, group: int, least: int, scale_of: Callable[[Array], Array]
) -> tuple[Array, Array]:
    """Return integers [K, N] and scales [K / group, N] of a weight [K, N].

    Args:
        moments: second moments of the inputs [K, K].
        least: the least integer; the largest is ``-least - 1``.
        scale_of: from a block [group, N], as earlier errors left it, to its scales [N].
    """
    left = weight.astype(np.float64)
    root = _inverse_root(moments)
    integers, scales = np.empty(weight.shape, np.int8), []
    for start in range(0, len(left), group):
        rows = slice(start, start + group)
        scale = scale_of(left[rows])
        errors = np.empty((group, left.shape[1]))
        for at in range(start, start + group):
            rounded = np.clip(np.rint(left[at] / scale), least, -least - 1)
            integers[at] = rounded
            error = errors[at - start] = (left[at] - rounded * scale) / root[at, at]
            left[at + 1 : start + group] -= np.outer(root[at, at + 1 : start + group], error)
        left[start + group :] -= root[rows, start + group :].T @ errors
        scales.append(scale)
    return integers, np.stack(scales).astype(np.float32)


def _inverse_root(moments: Array) -> Array:
    """Return the upper triangle U with U^T U the inverse of the damped moments."""
    damped = moments + np.eye(len(moments)) * max(_DAMPING * float(np.diag(moments).mean()), 1e-10)
    return np.asarray(np.linalg.cholesky(np.linalg.inv(damped)).T)
