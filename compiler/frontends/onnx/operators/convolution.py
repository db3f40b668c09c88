"""Convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....errors import UserError
from .....tvm_names import is_constant, shape_of
from ..node import Node, constant
from ..registry import operator
from ..windows import Window, window_of

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("Conv")
def conv(node: Node, data: Expr, weight: Expr, bias: Expr | None = None) -> Expr:
    """Convolution of one to three spatial axes; every opset says the same.

    The bias becomes an addition. One spatial axis becomes two, the first of size 1.
    """
    shape, kernel = shape_of(data), shape_of(weight)
    window = window_of(node, kernel[2:], shape[2:])
    groups = node.get_int("group", 1)
    if len(shape) not in (3, 4, 5):
        raise UserError(f"convolutions of {len(shape) - 2} spatial axes are not supported")
    if groups < 1 or shape[1] != kernel[1] * groups or kernel[0] % groups:
        raise UserError(f"a weight of shape {list(kernel)} in {groups} groups does not fit data of {shape[1]} channels")
    if len(shape) == 3:
        data, weight = _as_image(node, data), _as_image(node, weight)
        window = _image_window(window)
    operator_of = relax.op.nn.conv3d if len(shape) == 5 else relax.op.nn.conv2d
    out = node.emit(operator_of(data, weight, window.strides, window.padding, window.dilation, groups))
    return _finish(node, out, bias, len(shape))


@operator("ConvTranspose")
def conv_transpose(node: Node, data: Expr, weight: Expr, bias: Expr | None = None) -> Expr:
    """Transposed convolution of one to three spatial axes; ``output_shape`` and ``auto_pad`` become padding.

    Dilation is written into a constant weight. What the operator of two spatial axes does not take becomes a plain
    convolution of data with zeros between its elements.
    """
    shape = shape_of(data)
    if len(shape) not in (3, 4, 5):
        raise UserError(f"transposed convolutions of {len(shape) - 2} spatial axes are not supported")
    rank = len(shape) - 2
    dilation = node.get_ints("dilations", (1,) * rank)
    if is_constant(weight) and any(step != 1 for step in dilation):
        weight, dilation = _dilated(node, weight, dilation), (1,) * rank
    strides = node.get_ints("strides", (1,) * rank)
    kernel = tuple((size - 1) * step + 1 for size, step in zip(shape_of(weight)[2:], dilation, strict=True))
    begin, end, extra = _transposed_padding(node, shape[2:], kernel, strides)
    # An end that the padding would extend rather than crop is appended by output_padding, which is not padding twice.
    extra = tuple(more + max(-last, 0) for more, last in zip(extra, end, strict=True))
    window = Window(
        shape_of(weight)[2:], tuple(strides), tuple(dilation), tuple(begin), tuple(max(each, 0) for each in end)
    )
    beyond = any(more >= max(step, 1) for more, step in zip(extra, strides, strict=True)) or min(begin) < 0
    if rank == 3 or beyond or any(step != 1 for step in dilation):
        return _finish(node, _stuffed_conv(node, data, weight, window, extra), bias, len(shape))
    if rank == 1:
        data, weight, window, extra = _as_image(node, data), _as_image(node, weight), _image_window(window), (0, *extra)
    groups = node.get_int("group", 1)
    out = node.emit(relax.op.nn.conv2d_transpose(data, weight, window.strides, window.padding, extra, (1, 1), groups))
    return _finish(node, out, bias, len(shape))


def _stuffed_conv(node: Node, data: Expr, weight: Expr, window: Window, extra: tuple[int, ...]) -> Expr:
    """Return a transposed convolution as a convolution with the weight mirrored and its channels exchanged."""
    groups = node.get_int("group", 1)
    inner, outer, *kernel = shape_of(weight)
    axes = range(len(kernel))
    for axis in axes:
        data = _stuffed(node, data, axis + 2, window.strides[axis])
        reach = window.extent[axis] - 1
        before, after = reach - window.begin[axis], reach - window.end[axis] + extra[axis]
        data = _fitted(node, data, axis + 2, before, after)
    parts = node.reshape(weight, (groups, inner // groups, outer, *kernel))
    swapped = node.transpose(parts, (0, 2, 1, *(axis + 3 for axis in axes)))
    mirrored = node.reshape(swapped, (groups * outer, inner // groups, *kernel))
    for axis in axes:
        mirrored = node.emit(relax.op.flip(mirrored, axis + 2)) if kernel[axis] > 1 else mirrored
    dilation, ones = window.dilation, (1,) * len(kernel)
    if len(kernel) == 1:
        data, mirrored, dilation, ones = _as_image(node, data), _as_image(node, mirrored), (1, *dilation), (1, 1)
    make = relax.op.nn.conv3d if len(kernel) == 3 else relax.op.nn.conv2d
    return node.emit(make(data, mirrored, ones, (0,) * (2 * len(ones)), dilation, groups))


def _stuffed(node: Node, data: Expr, axis: int, stride: int) -> Expr:
    """Return data with ``stride - 1`` zeros between its elements along an axis."""
    shape = shape_of(data)
    if stride == 1:
        return data
    apart = node.reshape(data, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    widths = [0] * (2 * (axis + 1)) + [0, stride - 1] + [0] * (2 * (len(shape) - axis - 1))
    padded = node.emit(relax.op.nn.pad(apart, widths, "constant", 0.0))
    joined = node.reshape(padded, (*shape[:axis], shape[axis] * stride, *shape[axis + 1 :]))
    return _fitted(node, joined, axis, 0, 1 - stride)


def _fitted(node: Node, data: Expr, axis: int, before: int, after: int) -> Expr:
    """Return data with zeros added before and after an axis, or elements cut off where a width is negative."""
    rank, size = len(shape_of(data)), shape_of(data)[axis]
    if before < 0 or after < 0:
        cut = relax.op.strided_slice(data, [axis], [max(-before, 0)], [size - max(-after, 0)])
        data = node.emit(cut)
    if before <= 0 and after <= 0:
        return data
    widths = [0] * (2 * rank)
    widths[2 * axis : 2 * axis + 2] = [max(before, 0), max(after, 0)]
    return node.emit(relax.op.nn.pad(data, widths, "constant", 0.0))


def _finish(node: Node, out: Expr, bias: Expr | None, rank: int) -> Expr:
    if bias is not None:
        spatial = max(rank, 4) - 2
        out = node.emit(relax.op.add(out, node.reshape(bias, (1, shape_of(bias)[0]) + (1,) * spatial)))
    if rank == 3:
        batch, channels, _, width = shape_of(out)
        return node.reshape(out, (batch, channels, width))
    return out


def _as_image(node: Node, tensor: Expr) -> Expr:
    outer, inner, width = shape_of(tensor)
    return node.reshape(tensor, (outer, inner, 1, width))


def _image_window(window: Window) -> Window:
    return Window(
        (1, *window.kernel), (1, *window.strides), (1, *window.dilation), (0, *window.begin), (0, *window.end)
    )


def _dilated(node: Node, weight: Expr, dilation: tuple[int, ...]) -> Expr:
    array = node.array(weight, "the weight of a dilated transposed convolution")
    sizes = tuple((size - 1) * step + 1 for size, step in zip(array.shape[2:], dilation, strict=True))
    wide = np.zeros((*array.shape[:2], *sizes), array.dtype)
    wide[(slice(None), slice(None), *(slice(None, None, step) for step in dilation))] = array
    return constant(wide)


def _transposed_padding(
    node: Node, spatial: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return begin, end and output padding; the formulas are those of the operator's specification."""
    rank = len(spatial)
    pads = node.get_ints("pads", (0,) * (2 * rank))
    extra = node.get_ints("output_padding", (0,) * rank)
    mode = node.get_string("auto_pad", "NOTSET")
    wanted = node.get_ints("output_shape", ())
    if mode.startswith("SAME") and not wanted:
        wanted = tuple(size * step for size, step in zip(spatial, strides, strict=True))
    if not wanted:
        return pads[:rank], pads[rank:], extra
    total = [
        step * (size - 1) + more + window - out
        for step, size, more, window, out in zip(strides, spatial, extra, kernel, wanted[-rank:], strict=True)
    ]
    less, more = tuple(max(each, 0) // 2 for each in total), tuple(max(each, 0) - max(each, 0) // 2 for each in total)
    grown = tuple(grow + max(-each, 0) for grow, each in zip(extra, total, strict=True))
    return (more, less, grown) if mode != "SAME_UPPER" else (less, more, grown)
