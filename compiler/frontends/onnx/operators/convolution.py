"""Convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....errors import UserError
from .....tvm_names import shape_of
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
    """Transposed convolution of one or two spatial axes; ``output_shape`` and ``auto_pad`` become padding.

    Dilation is written into the weight, which must then be constant.
    """
    shape = shape_of(data)
    if len(shape) not in (3, 4):
        raise UserError(f"transposed convolutions of {len(shape) - 2} spatial axes are not supported")
    rank = len(shape) - 2
    dilation = node.get_ints("dilations", (1,) * rank)
    if any(step != 1 for step in dilation):
        weight = _dilated(node, weight, dilation)
    strides = node.get_ints("strides", (1,) * rank)
    begin, end, extra = _transposed_padding(node, shape[2:], shape_of(weight)[2:], strides)
    if rank == 1:
        data, weight = _as_image(node, data), _as_image(node, weight)
        begin, end, extra, strides = (0, *begin), (0, *end), (0, *extra), (1, *strides)
    groups = node.get_int("group", 1)
    kernel = shape_of(weight)[2:]
    # An end that the padding would extend rather than crop is appended by output_padding, which is not padding twice.
    extra = tuple(more + max(-last, 0) for more, last in zip(extra, end, strict=True))
    padding = tuple(begin) + tuple(max(last, 0) for last in end)
    if any(more >= max(step, 1) for more, step in zip(extra, strides, strict=True)) or min(padding) < 0:
        raise UserError(f"output padding {extra} beyond the strides {strides} is not supported (kernel {kernel})")
    out = node.emit(relax.op.nn.conv2d_transpose(data, weight, strides, padding, extra, (1, 1), groups))
    return _finish(node, out, bias, len(shape))


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
