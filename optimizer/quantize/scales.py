"""Scales and zero points: from ranges to the integers that stand for values, real = scale * (integer - zero point)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: A scale below this is no normal number of any precision that a kernel may compute in.
LEAST_SCALE = 1e-30
_BIAS_LIMIT = 2.0**30


@dataclass(frozen=True)
class Affine:
    """How a tensor is quantized: a scale and a zero point, or one for each channel along an axis."""

    scale: Array
    zero_point: Array
    axis: int | None = None


def activation_scale(low: float, high: float) -> Affine:
    """Return u8 parameters of a range, which is widened to hold zero: padding and ReLU must stay exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255)
    if scale < LEAST_SCALE:
        return Affine(np.float32(1.0) * np.ones((), np.float32), np.zeros((), np.uint8))
    zero = np.clip(np.rint(-low / float(scale)), 0, 255)
    return Affine(np.asarray(scale, np.float32), np.asarray(zero, np.uint8))


def weight_scale(weight: Array, axis: int, bias: Array | None = None, input_scale: float = 1.0) -> Affine:
    """Return symmetric s8 parameters of a weight, a scale for each output channel.

    The bias is an integer of scale ``input_scale * scale``: where it would not fit 32 bits, the scale is made larger.
    """
    others = tuple(each for each in range(weight.ndim) if each != axis)
    scale = np.abs(weight).max(axis=others).astype(np.float64) / 127
    if bias is not None:
        scale = np.maximum(scale, np.abs(bias.astype(np.float64)) / (input_scale * _BIAS_LIMIT))
    scale = np.where(scale < LEAST_SCALE, 1.0, scale).astype(np.float32)
    return Affine(scale, np.zeros(len(scale), np.int8), axis)


def quantize(values: Array, affine: Affine) -> Array:
    """Return the integers that stand for values: rounded to nearest even, saturated."""
    scale, zero = _along(affine, values.ndim)
    info = np.iinfo(affine.zero_point.dtype)
    integers = np.rint(values.astype(np.float64) / scale) + zero
    return np.asarray(np.clip(integers, info.min, info.max), affine.zero_point.dtype)


def dequantize(integers: Array, affine: Affine) -> Array:
    """Return the values, float32, that integers stand for."""
    scale, zero = _along(affine, integers.ndim)
    return ((integers.astype(np.float64) - zero) * scale).astype(np.float32)


def _along(affine: Affine, rank: int) -> tuple[Array, Array]:
    if affine.axis is None:
        return affine.scale.astype(np.float64), affine.zero_point.astype(np.float64)
    shape = [1] * rank
    shape[affine.axis] = -1
    return affine.scale.astype(np.float64).reshape(shape), affine.zero_point.astype(np.float64).reshape(shape)
