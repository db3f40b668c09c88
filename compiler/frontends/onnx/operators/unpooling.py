"""Pooling that says where its maxima lie, and its reverse."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....errors import UserError
from .....tvm_names import dtype_of, shape_of
from ..node import Node, constant, rank_of
from ..registry import operator
from ..windows import Window

if TYPE_CHECKING:
    from tvm.relax import Expr


def max_pool_indices(node: Node, data: Expr, window: Window, counts: tuple[int, ...]) -> Expr:
    """Return the flat index in data of each window's first maximum, int64.

    Every window's elements are gathered; the place of the largest among them names its index.

    Args:
        counts: windows along each spatial axis.
    """
    batch, channels, *spatial = shape_of(data)
    starts = [
        np.arange(count) * step - before
        for count, step, before in zip(counts, window.strides, window.begin, strict=True)
    ]
    taps = np.array(list(itertools.product(*(range(size) for size in window.kernel)))) * window.dilation
    corners = np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, 1, len(spatial))
    places = corners + taps[None]
    inside = np.all((places >= 0) & (places < spatial), axis=-1)
    # Column-major storage swaps the two innermost axes' strides, as the attribute's specification says.
    order = range(len(spatial)) if node.get_int("storage_order", 0) else reversed(range(len(spatial)))
    strides, step = np.ones(len(spatial), np.int64), 1
    for axis in order:
        strides[axis], step = step, step * spatial[axis]
    rows = np.array([math.prod(spatial[axis + 1 :]) for axis in range(len(spatial))])
    flat = node.reshape(data, (batch, channels, math.prod(spatial)))
    read = np.where(inside, (places * rows).sum(-1), 0)
    seen = node.emit(relax.op.take(flat, constant(read.reshape(-1)), 2, mode="fast"))
    seen = node.reshape(seen, (batch, channels, *read.shape))
    kind = np.dtype(dtype_of(data))
    lowest = -np.inf if kind.kind == "f" else np.iinfo(kind).min
    seen = node.emit(relax.op.where(constant(np.asarray(inside)), seen, node.const(lowest, data)))
    best = node.emit(relax.op.argmax(seen, 3, keepdims=False))
    moved = node.emit(relax.op.take(constant((taps * strides).sum(-1)), best, 0, mode="fast"))
    origin = constant((corners[:, 0] * strides).sum(-1))
    local = node.emit(relax.op.add(moved, origin))
    maps = np.arange(batch * channels).reshape(batch, channels, 1) * math.prod(spatial)
    return node.reshape(node.emit(relax.op.add(local, constant(maps))), (batch, channels, *counts))


@operator("MaxUnpool", since=9)
def max_unpool(node: Node, data: Expr, indices: Expr, output_shape: Expr | None = None) -> Expr:
    """Zeros with data put at the flat indices that MaxPool gave.

    Indices are those of the tensor that the attributes describe; an output shape that is larger adds zeros at the ends.
    """
    kernel = node.get_ints("kernel_shape", ())
    rank = len(kernel)
    strides, pads = node.get_ints("strides", (1,) * rank), node.get_ints("pads", (0,) * (2 * rank))
    if rank_of(data) != rank + 2:
        raise UserError(f"its kernel has {rank} axes, its data {rank_of(data)}")
    shape = shape_of(data)
    plain = [
        (shape[axis + 2] - 1) * strides[axis] - pads[axis] - pads[axis + rank] + kernel[axis] for axis in range(rank)
    ]
    whole = shape[:2] + tuple(plain)
    zeros = constant(np.zeros(math.prod(whole), np.dtype(dtype_of(data))))
    flat = node.emit(
        relax.op.floor_mod(node.reshape(indices, (math.prod(shape),)), node.const(math.prod(whole), indices))
    )
    placed = node.emit(relax.op.scatter_elements(zeros, flat, node.reshape(data, (math.prod(shape),)), 0, "update"))
    placed = node.reshape(placed, whole)
    if output_shape is None:
        return placed
    wanted = node.int_list(output_shape, "the output shape of MaxUnpool")
    more = [new - old for new, old in zip(wanted, whole, strict=True)]
    if min(more) < 0:
        raise UserError(f"its output shape {list(wanted)} is smaller than {list(whole)}, where its indices lie")
    return (
        relax.op.nn.pad(placed, [width for each in more for width in (0, each)], "constant", 0.0)
        if any(more)
        else placed
    )
