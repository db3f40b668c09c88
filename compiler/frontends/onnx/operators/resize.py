"""Resizing: every axis is resampled on its own, by gathers and weights that are known at import."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....errors import UserError
from .....passes.resample import resample
from .....shapes import is_static
from .....tvm_names import dtype_of, shape_of
from ..interpolation import Array, Resampling, Taps, taps_of
from ..node import Node, constant, positive_axis, rank_of
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr

#: More taps than this, and a matrix product is the cheaper form.
_MAX_TAPS = 8


@operator("Upsample")
def upsample_attribute(node: Node, data: Expr) -> Expr:
    """Resize by the attribute ``scales`` (opset 7)."""
    return _resample(node, data, _old(node), _scales(node.get_floats("scales", ())))


@operator("Upsample", since=9)
def upsample(node: Node, data: Expr, scales: Expr) -> Expr:
    """Resize by scales (opset 9)."""
    return _resample(node, data, _old(node), _scales(node.array(scales, "the scales of Upsample")))


@operator("Resize", since=10)
def resize_scales(node: Node, data: Expr, scales: Expr) -> Expr:
    """Resize by scales (opset 10)."""
    return _resample(node, data, _old(node), _scales(node.array(scales, "the scales of Resize")))


@operator("Resize", since=11)
def resize(
    node: Node, data: Expr, roi: Expr | None = None, scales: Expr | None = None, sizes: Expr | None = None
) -> Expr:
    """Resize any axes to sizes or by scales, in every mode of the operator's specification."""
    how = Resampling(
        mode=node.get_string("mode", "nearest"),
        coordinates=node.get_string("coordinate_transformation_mode", "half_pixel"),
        nearest=node.get_string("nearest_mode", "round_prefer_floor"),
        cubic_a=node.get_float("cubic_coeff_a", -0.75),
        exclude_outside=bool(node.get_int("exclude_outside", 0)),
        antialias=bool(node.get_int("antialias", 0)),
    )
    rank = rank_of(data)
    axes = [positive_axis(axis, rank) for axis in node.get_ints("axes", range(rank))]
    regions: dict[int, tuple[float, float]] = {}
    if roi is not None and how.coordinates == "tf_crop_and_resize":
        bounds = node.array(roi, "the region of Resize")
        regions = {axis: (float(bounds[i]), float(bounds[i + len(axes)])) for i, axis in enumerate(axes)}
    if sizes is not None:
        target = _by_sizes(node, data, axes, node.int_list(sizes, "the sizes of Resize"))
    elif scales is not None:
        target = _scales(node.array(scales, "the scales of Resize"), axes)
    else:
        raise UserError("it states neither scales nor sizes")
    return _resample(node, data, how, target, regions)


#: What becomes of an axis: (results, or None for as many as the scale gives; scale).
_Target = dict[int, tuple[int | None, float]]


def _old(node: Node) -> Resampling:
    return Resampling(node.get_string("mode", "nearest"), "asymmetric", "floor")


def _scales(scales: Sequence[float] | Array, axes: Sequence[int] | None = None) -> _Target:
    along = range(len(scales)) if axes is None else axes
    return {axis: (None, float(scale)) for axis, scale in zip(along, scales, strict=True)}


def _by_sizes(node: Node, data: Expr, axes: Sequence[int], sizes: Sequence[int]) -> _Target:
    shape = shape_of(data)
    scales = [_scale(size, shape[axis], axis) for axis, size in zip(axes, sizes, strict=True)]
    policy = node.get_string("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return {axis: (size, scale) for axis, size, scale in zip(axes, sizes, scales, strict=True)}
    scale = min(scales) if policy == "not_larger" else max(scales)
    return {axis: (math.floor(scale * shape[axis] + 0.5), scale) for axis in axes}


def _scale(size: int, length: int, axis: int) -> float:
    """Return results for an element of an axis; one whose length only a run knows must stay as it is."""
    if size == length:
        return 1.0
    if not is_static((size, length)):
        raise _only_a_run_knows(axis)
    return size / length


def _only_a_run_knows(axis: int) -> UserError:
    return UserError(f"it resizes axis {axis}, whose size only a run knows: give it with --input-shapes")


def _resample(
    node: Node,
    data: Expr,
    how: Resampling,
    target: _Target,
    regions: dict[int, tuple[float, float]] | None = None,
) -> Expr:
    along: dict[int, Taps] = {}
    for axis, (given, scale) in target.items():
        size = shape_of(data)[axis]
        region = (regions or {}).get(axis, (0.0, 1.0))
        if not is_static((size,)):
            if scale != 1.0 or region != (0.0, 1.0):
                raise _only_a_run_knows(axis)
            continue
        if not (scale > 0 and math.isfinite(scale)):
            raise UserError(f"its scale of axis {axis} is {scale}")
        span = region[1] - region[0] if regions else 1.0
        count = math.floor(size * span * scale) if given is None else given
        if count < 1:
            raise UserError(f"it leaves no elements of axis {axis}; nothing can be compiled for such a tensor")
        if count == size and scale == 1.0 and region == (0.0, 1.0):
            continue
        along[axis] = taps_of(how, size, count, scale, region)
    if _is_image(data, along):
        data = _image(node, data, along[2], along[3])
    else:
        for axis, taps in along.items():
            data = _apply(node, data, axis, taps)
    fill = node.const(node.get_float("extrapolation_value", 0.0), data)
    for axis, taps in along.items():
        if taps.outside.any():
            mask = constant(_along(taps.outside, axis, rank_of(data)))
            data = node.emit(relax.op.where(mask, fill, data))
    return data


def _is_image(data: Expr, along: dict[int, Taps]) -> bool:
    """Return whether both axes of an image are blended from few elements each: what has an operator of its own."""
    blended = all(1 < len(taps.weights) <= _MAX_TAPS for taps in along.values())
    return blended and along.keys() == {2, 3} and rank_of(data) == 4 and dtype_of(data) == "float32"


def _image(node: Node, data: Expr, rows: Taps, columns: Taps) -> Expr:
    tables = [
        constant(table)
        for taps in (rows, columns)
        for table in (taps.indices.astype("int32"), taps.weights.astype("float32"))
    ]
    return node.emit(resample(data, *tables))


def _apply(node: Node, data: Expr, axis: int, taps: Taps) -> Expr:
    if len(taps.weights) == 1 and (taps.weights == 1).all():
        return node.emit(relax.op.take(data, constant(taps.indices[0]), axis, mode="fast"))
    dtype = dtype_of(data)
    data = node.cast(data, dtype if dtype.startswith("float") else "float32")
    if len(taps.weights) > _MAX_TAPS:
        mixed = _matrix(node, data, axis, taps)
    else:
        parts = [
            _tap(node, data, axis, index, weight) for index, weight in zip(taps.indices, taps.weights, strict=True)
        ]
        mixed = parts[0]
        for part in parts[1:]:
            mixed = node.emit(relax.op.add(mixed, part))
    return node.cast(mixed, dtype)


def _tap(node: Node, data: Expr, axis: int, index: Array, weight: Array) -> Expr:
    taken = node.emit(relax.op.take(data, constant(index), axis, mode="fast"))
    return node.emit(relax.op.multiply(taken, node.const(_along(weight, axis, rank_of(data)), data)))


def _matrix(node: Node, data: Expr, axis: int, taps: Taps) -> Expr:
    matrix = np.zeros((shape_of(data)[axis], taps.indices.shape[1]))
    np.add.at(matrix, (taps.indices, np.arange(matrix.shape[1])[None]), taps.weights)
    order = [*(each for each in range(rank_of(data)) if each != axis), axis]
    last = node.transpose(data, order)
    product = node.emit(relax.op.matmul(last, node.const(matrix, data)))
    return node.transpose(product, np.argsort(order).tolist())


def _along(vector: Array, axis: int, rank: int) -> Array:
    return vector.reshape((-1,) + (1,) * (rank - 1 - axis))
