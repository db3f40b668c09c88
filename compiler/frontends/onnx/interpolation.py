"""Resampling of one axis as ONNX's Resize defines it: which elements each result takes, and with what weight."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import UserError

Array = NDArray[Any]


@dataclass(frozen=True)
class Resampling:
    """How an axis is resampled.

    Attributes:
        mode: "nearest", "linear" or "cubic".
        coordinates: ONNX's ``coordinate_transformation_mode``.
        nearest: ONNX's ``nearest_mode``.
        cubic_a: the coefficient of the cubic kernel.
        exclude_outside: elements outside the data weigh nothing, and the other weights add up to one.
        antialias: the kernel is widened where the axis shrinks.
    """

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False


@dataclass(frozen=True)
class Taps:
    """The elements that make each result of an axis.

    Attributes:
        indices: [taps, results] positions in the data, all inside it.
        weights: [taps, results] their weights; a single tap weighs one.
        outside: [results] where a result lies outside the region that is cropped.
    """

    indices: Array
    weights: Array
    outside: Array


def taps_of(how: Resampling, size: int, count: int, scale: float, region: tuple[float, float]) -> Taps:
    """Return the taps of an axis.

    Args:
        size: elements of the data along the axis.
        count: results along the axis.
        scale: results for each element, as the model gives it.
        region: start and end of the crop in units of the axis, for "tf_crop_and_resize".
    """
    places = _coordinates(how.coordinates, size, count, scale, region)
    crops = how.coordinates == "tf_crop_and_resize"
    outside = ((places < 0) | (places > size - 1)) if crops else np.zeros(count, np.bool_)
    if how.mode == "nearest":
        indices = np.clip(_rounded(how.nearest, places), 0, size - 1)[None]
        return Taps(indices, np.ones((1, count)), outside)
    shrink = min(scale, 1.0) if how.antialias else 1.0
    reach = math.ceil((1 if how.mode == "linear" else 2) / shrink)
    base = np.floor(places).astype(np.int64)
    offsets = np.arange(1 - reach, reach + 1)[:, None]
    indices = base[None] + offsets
    weights = _kernel(how, (indices - places[None]) * shrink)
    if how.exclude_outside or how.antialias:
        keep = (indices >= 0) & (indices < size) if how.exclude_outside else np.ones_like(indices, np.bool_)
        weights = np.where(keep, weights, 0.0)
        weights = weights / weights.sum(axis=0, keepdims=True)
    used = np.any(weights != 0, axis=1)
    return Taps(np.clip(indices, 0, size - 1)[used], weights[used], outside)


def _coordinates(mode: str, size: int, count: int, scale: float, region: tuple[float, float]) -> Array:
    results = np.arange(count, dtype=np.float64)
    start, end = region
    middle = (results + 0.5) / scale - 0.5
    # By the specification the length is not rounded here: half an element of it is not a result, yet it counts.
    width = scale * size
    steps = width - 1 if width > 1 else 1.0
    crop = start * (size - 1) + results * (end - start) * (size - 1) / steps
    known = {
        "half_pixel": middle,
        "half_pixel_symmetric": size / 2 * (1 - count / (scale * size)) + middle,
        "pytorch_half_pixel": middle if count > 1 else np.zeros(count),
        "align_corners": results * (size - 1) / steps,
        "asymmetric": results / scale,
        "tf_half_pixel_for_nn": middle + 0.5,
        "tf_crop_and_resize": crop if width > 1 else np.full(count, 0.5 * (start + end) * (size - 1)),
    }
    if mode not in known:
        raise UserError(f"the coordinate transformation '{mode}' is not supported")
    return known[mode]


def _rounded(mode: str, places: Array) -> Array:
    rounded: dict[str, Callable[[Array], Array]] = {
        "round_prefer_floor": lambda x: np.ceil(x - 0.5),
        "round_prefer_ceil": lambda x: np.floor(x + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    if mode not in rounded:
        raise UserError(f"the rounding '{mode}' of nearest neighbours is not supported")
    whole: Array = rounded[mode](places).astype(np.int64)
    return whole


def _kernel(how: Resampling, distance: Array) -> Array:
    """Return the weight at a distance: the hat function, or the cubic convolution kernel of Keys (1981)."""
    x = np.abs(distance)
    if how.mode == "linear":
        hat: Array = np.maximum(1.0 - x, 0.0)
        return hat
    a = how.cubic_a
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
