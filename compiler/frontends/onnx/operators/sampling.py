"""Operators that sample data at computed places."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....errors import UserError
from .....passes.tensor_functions import call
from .....tvm_names import dtype_of, shape_of
from ..node import Node, constant, rank_of
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr

#: GridSample's modes, in the words of opset 20 and in those of opset 16.
_MODES = {"linear": "linear", "bilinear": "linear", "nearest": "nearest", "cubic": "cubic", "bicubic": "cubic"}


@operator("GridSample")
def grid_sample(node: Node, data: Expr, grid: Expr) -> Expr:
    """Samples at the places that a grid names, over any number of spatial axes."""
    mode = node.get_string("mode", "linear")
    padding = node.get_string("padding_mode", "zeros")
    if mode not in _MODES or padding not in ("zeros", "border", "reflection"):
        raise UserError(f"the mode '{mode}' with the padding '{padding}' is not supported")
    corners = node.get_int("align_corners", 0)
    return call("grid_sample", [data, grid], mode=_MODES[mode], padding=padding, align_corners=corners)


@operator("AffineGrid")
def affine_grid(node: Node, theta: Expr, size: Expr) -> Expr:
    """The places of a grid over [-1, 1] under an affine map: a matrix product with the plain grid."""
    _, _, *spatial = node.int_list(size, "the size of AffineGrid")
    rank = len(spatial)
    axes = [_line(count, bool(node.get_int("align_corners", 0))) for count in spatial]
    plain = np.stack([*reversed(np.meshgrid(*axes, indexing="ij")), np.ones(spatial)], axis=-1)
    points = node.const(plain.reshape(1, -1, rank + 1), theta)
    batch = shape_of(theta)[0]
    points = node.emit(relax.op.broadcast_to(points, (batch, math.prod(spatial), rank + 1)))
    moved = node.emit(relax.op.matmul(points, node.transpose(theta, (0, 2, 1))))
    return node.reshape(moved, (batch, *spatial, rank))


@operator("DeformConv")
def deform_conv(
    node: Node, data: Expr, weight: Expr, offset: Expr, bias: Expr | None = None, mask: Expr | None = None
) -> Expr:
    """Deformable convolution: the columns that the offsets name, then one matrix product for each group."""
    rank = rank_of(data) - 2
    kernel = shape_of(weight)[2:]
    groups, moves = node.get_int("group", 1), node.get_int("offset_group", 1)
    batch, outer, places = shape_of(data)[0], shape_of(weight)[0], shape_of(offset)[2:]
    count = math.prod(kernel)
    if shape_of(data)[1] != shape_of(weight)[1] * groups or shape_of(data)[1] % moves or outer % groups:
        raise UserError(f"its weight of shape {list(shape_of(weight))} in {groups} groups does not fit its data")
    offset = node.reshape(offset, (batch, moves, count, rank, *places))
    if mask is None:
        mask = constant(np.ones((batch, moves, count, *places), np.dtype(dtype_of(data))))
    columns = call(
        "deform_columns",
        [data, offset, node.reshape(mask, (batch, moves, count, *places))],
        kernel=kernel,
        strides=node.get_ints("strides", (1,) * rank),
        dilation=node.get_ints("dilations", (1,) * rank),
        begin=node.get_ints("pads", (0,) * (2 * rank))[:rank],
    )
    inner = shape_of(weight)[1] * count
    matrix = node.reshape(node.emit(columns), (batch, groups, inner, math.prod(places)))
    weights = node.reshape(weight, (1, groups, outer // groups, inner))
    out = node.reshape(node.emit(relax.op.matmul(weights, matrix)), (batch, outer, *places))
    if bias is None:
        return out
    return relax.op.add(out, node.reshape(bias, (1, outer) + (1,) * rank))


@operator("Col2Im", since=18)
def col2im(node: Node, data: Expr, image_shape: Expr, block_shape: Expr) -> Expr:
    """An image from its blocks; elements that overlap are added."""
    image = node.int_list(image_shape, "the image shape of Col2Im")
    block = node.int_list(block_shape, "the block shape of Col2Im")
    rank = len(image)
    return call(
        "col2im",
        [data],
        image=image,
        block=block,
        strides=node.get_ints("strides", (1,) * rank),
        dilation=node.get_ints("dilations", (1,) * rank),
        pads=node.get_ints("pads", (0,) * (2 * rank)),
    )


def _line(count: int, corners: bool) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the places of one axis: up to the edges with ``align_corners``, else the centres of equal cells."""
    if corners:
        return np.linspace(-1.0, 1.0, count) if count > 1 else np.zeros(1)
    return (2 * np.arange(count, dtype=np.float64) + 1) / count - 1


@operator("RoiAlign", since=10)
def roi_align_corners(node: Node, data: Expr, rois: Expr, batch: Expr) -> Expr:
    """Regions of interest, sampled; elements lie at whole places (opset 10)."""
    return _roi_align(node, data, rois, batch, half_pixel=False)


@operator("RoiAlign", since=16)
def roi_align(node: Node, data: Expr, rois: Expr, batch: Expr) -> Expr:
    """Regions of interest, sampled; ``coordinate_transformation_mode`` says where elements lie."""
    half_pixel = node.get_string("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    return _roi_align(node, data, rois, batch, half_pixel)


@operator("MaxRoiPool")
def max_roi_pool(node: Node, data: Expr, rois: Expr) -> Expr:
    """The largest element of each bin of each region of interest."""
    size = node.get_ints("pooled_shape", ())
    return call("max_roi_pool", [data, rois], size=size, scale=node.get_float("spatial_scale", 1.0))


def _roi_align(node: Node, data: Expr, rois: Expr, batch: Expr, half_pixel: bool) -> Expr:
    mode = node.get_string("mode", "avg")
    ratio = node.get_int("sampling_ratio", 0)
    if mode not in ("avg", "max") or rank_of(data) != 4 or ratio < 0:
        raise UserError(f"the mode '{mode}' with sampling ratio {ratio} on {rank_of(data)} dimensions is not supported")
    return call(
        "roi_align",
        [data, rois, batch],
        mode=mode,
        size=(node.get_int("output_height", 1), node.get_int("output_width", 1)),
        scale=node.get_float("spatial_scale", 1.0),
        ratio=ratio,
        half_pixel=int(half_pixel),
    )
