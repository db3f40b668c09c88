"""Operators whose results are as large as their data says: how many elements are found is known only behind them.

The largest result is planned; what was found becomes a symbol (see docs/design/0004-run-time-shapes.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....dims import Dim, dim_expression, upper
from .....errors import UserError
from .....tvm_names import dtype_of, is_constant, shape_of
from ..node import Node, positive_axis, rank_of
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("NonZero")
def nonzero(node: Node, data: Expr) -> Expr:
    """The indices of the elements that are not zero, [rank, found], in the order of memory."""
    shape = shape_of(data)
    flat = node.reshape(data, (math.prod(shape),))
    if dtype_of(data) != "bool":
        flat = node.emit(relax.op.not_equal(flat, node.const(0, flat)))
    places = found_places(node, flat)
    rows = []
    for axis, size in enumerate(shape):
        row = places
        if (stride := math.prod(shape[axis + 1 :])) != 1:
            row = node.emit(relax.op.floor_divide(row, node.const(stride, row)))
        if axis:
            row = node.emit(relax.op.floor_mod(row, node.const(size, row)))
        rows.append(node.reshape(row, (1, *shape_of(row))))
    return rows[0] if len(rows) == 1 else relax.op.concat(rows, 0)


def compress_found(node: Node, data: Expr, condition: Expr) -> Expr:
    """The slices along an axis (or the elements) for which a computed condition holds."""
    if not node.has("axis"):
        data = node.reshape(data, (math.prod(shape_of(data)),))
    axis = positive_axis(node.get_int("axis", 0), rank_of(data))
    (count,), (size,) = shape_of(condition), shape_of(data)[axis : axis + 1]
    if not upper(count) <= upper(size):
        raise UserError(f"its condition has {upper(count)} elements for an axis of {upper(size)}")
    return relax.op.take(data, found_places(node, condition), axis, mode="wrap")


def top_k_of_any(node: Node, both: Sequence[Expr], k: Expr, axis: int) -> tuple[Expr, ...]:
    """The first k of all sorted elements and of their places, k computed and held inside the axis."""
    size = shape_of(both[0])[axis]
    wanted = node.reshape(node.cast(k, "int64"), (1,))
    wanted = node.emit(relax.op.maximum(wanted, node.const([0], wanted)))
    wanted = node.emit(relax.op.minimum(wanted, node.const([upper(size)], wanted)))
    symbol = node.new_size(upper(size))
    cut: list[Expr] = []
    for each in both:
        whole = node.bind_size(each, wanted, symbol, shape_of(each)) if not cut else each
        cut.append(node.emit(relax.op.strided_slice(whole, [axis], [0], [dim_expression(symbol)], assume_inbound=True)))
    return tuple(cut)


def found_places(node: Node, flags: Expr) -> Expr:
    """Emit the places of the true elements of a vector, in order, as int64 [found].

    flags 0 1 1 0 1 --cumsum--> 0 1 2 2 3 ; true elements go to one less, the others behind all: 1 2 4 (end)
    """
    (count,) = shape_of(flags)
    if is_constant(flags) or upper(count) == 0:
        raise UserError("nothing can be compiled for a tensor without elements")
    numbers = node.cast(flags, "int64")
    ordinal = node.emit(relax.op.cumsum(numbers, 0))
    total = node.emit(relax.op.sum(numbers, [0], keepdims=True))
    before = node.emit(relax.op.subtract(ordinal, node.const(1, ordinal)))
    target = node.emit(relax.op.where(flags, before, node.const(count, ordinal)))
    if isinstance(count, Dim):
        room = node.emit(relax.op.full(relax.ShapeExpr([dim_expression(count + 1)]), node.const(0, "int64"), "int64"))
        own = node.emit(relax.op.arange(0, dim_expression(count), 1, "int64"))
    else:
        room, own = node.const(np.zeros(count + 1), "int64"), node.const(np.arange(count), "int64")
    places = node.emit(relax.op.scatter_elements(room, target, own, 0, "update"))
    symbol = node.new_size(upper(count))
    return node.bind_size(places, total, symbol, (symbol,))
