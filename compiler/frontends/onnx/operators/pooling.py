"""Pooling."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tvm import relax

from .....errors import UserError
from .....tvm_names import dtype_of, shape_of
from ..node import Node, rank_of
from ..registry import operator
from ..windows import Window, ceil_end, window_of
from .unpooling import max_pool_indices

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("MaxPool")
def max_pool(node: Node, data: Expr) -> Expr | tuple[Expr, ...]:
    """Maximum of each window and, where it is asked for, its index; dilation since opset 10.

    ``ceil_mode`` becomes end padding.
    """
    window = window_of(node, node.get_ints("kernel_shape", ()), shape_of(data)[2:])
    if node.get_int("ceil_mode", 0):
        window = _with_end(window, ceil_end(window, shape_of(data)[2:]))
    values = _pool(node, (relax.op.nn.max_pool2d, relax.op.nn.max_pool3d), data, window, False)
    if not node.wants(1):
        return values
    return values, max_pool_indices(node, data, window, shape_of(values)[2:])


@operator("AveragePool")
def average_pool(node: Node, data: Expr) -> Expr:
    """Mean of each window; dilation since opset 19.

    Padding that is counted is padded with zeros first where ``ceil_mode`` adds padding that is not.
    """
    spatial = shape_of(data)[2:]
    window = window_of(node, node.get_ints("kernel_shape", ()), spatial)
    counted = bool(node.get_int("count_include_pad", 0))
    if node.get_int("ceil_mode", 0):
        end = ceil_end(window, spatial)
        if counted and end != window.end:
            data = _zero_padded(node, data, window)
            zeros = (0,) * len(spatial)
            more = tuple(new - old for new, old in zip(end, window.end, strict=True))
            window = Window(window.kernel, window.strides, window.dilation, zeros, more)
            counted = False
        else:
            window = _with_end(window, end)
    return _pool(node, (relax.op.nn.avg_pool2d, relax.op.nn.avg_pool3d), data, window, counted)


@operator("LpPool")
def lp_pool(node: Node, data: Expr) -> Expr:
    """The p-norm of each window: the mean of the powers, times the window's size, to the power 1/p."""
    power = node.get_int("p", 2)
    window = window_of(node, node.get_ints("kernel_shape", ()), shape_of(data)[2:])
    if node.get_int("ceil_mode", 0):
        window = _with_end(window, ceil_end(window, shape_of(data)[2:]))
    powers = node.emit(relax.op.power(node.emit(relax.op.abs(data)), node.const(power, data)))
    mean = _pool(node, (relax.op.nn.avg_pool2d, relax.op.nn.avg_pool3d), powers, window, True)
    total = node.emit(relax.op.multiply(mean, node.const(math.prod(window.kernel), data)))
    return node.emit(relax.op.power(total, node.const(1.0 / power, data)))


@operator("GlobalAveragePool")
def global_average_pool(node: Node, data: Expr) -> Expr:
    """Mean over the spatial axes, which stay with size 1."""
    return relax.op.mean(data, _spatial_axes(data), keepdims=True)


@operator("GlobalMaxPool")
def global_max_pool(node: Node, data: Expr) -> Expr:
    """Maximum over the spatial axes, which stay with size 1."""
    return relax.op.max(data, _spatial_axes(data), keepdims=True)


@operator("GlobalLpPool")
def global_lp_pool(node: Node, data: Expr) -> Expr:
    """The p-norm over the spatial axes, which stay with size 1."""
    power = node.get_int("p", 2)
    powers = node.emit(relax.op.power(node.emit(relax.op.abs(data)), node.const(power, data)))
    total = node.emit(relax.op.sum(powers, _spatial_axes(data), keepdims=True))
    return relax.op.power(total, node.const(1.0 / power, data))


def _spatial_axes(data: Expr) -> list[int]:
    return list(range(2, rank_of(data)))


def _with_end(window: Window, end: tuple[int, ...]) -> Window:
    return Window(window.kernel, window.strides, window.dilation, window.begin, end)


def _zero_padded(node: Node, data: Expr, window: Window) -> Expr:
    widths = [0, 0, 0, 0]
    for before, after in zip(window.begin, window.end, strict=True):
        widths += [before, after]
    if not any(widths):
        return data
    return node.emit(relax.op.nn.pad(data, widths, "constant", 0.0))


def _pool(
    node: Node, operators: tuple[Callable[..., Any], Callable[..., Any]], data: Expr, window: Window, counted: bool
) -> Expr:
    shape = shape_of(data)
    rank = len(shape) - 2
    if rank not in (1, 2, 3):
        raise UserError(f"pooling over {rank} spatial axes is not supported")
    if rank == 1:
        data = node.reshape(data, (*shape[:2], 1, shape[2]))
        window = Window(
            (1, *window.kernel), (1, *window.strides), (1, *window.dilation), (0, *window.begin), (0, *window.end)
        )
    make = operators[rank == 3]
    out = node.emit(make(data, window.kernel, window.strides, window.padding, window.dilation, False, counted))
    assert dtype_of(out) == dtype_of(data)
    return node.reshape(out, (*shape_of(out)[:2], shape_of(out)[3])) if rank == 1 else out
