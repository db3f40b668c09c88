"""Unique: as many results as there are different elements, known only to a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....dims import dim_expression
from .....errors import UserError
from .....passes.tensor_functions import call
from .....shapes import is_static
from .....tvm_names import dtype_of, shape_of
from ..node import Node, positive_axis, rank_of
from ..registry import operator
from .data_dependent import found_places

if TYPE_CHECKING:
    from tvm.relax import Expr

_SIZE = "its operand's size is known only to a run; give the operand a fixed size"


@operator("Unique")
def unique(node: Node, data: Expr) -> tuple[Expr, ...]:
    """The different elements of a tensor, or its different slices along ``axis``.

    Further results: where each is first, which of them each element (or slice) is, and how often each is. Slices are
    told apart by their ranks.
    """
    ordered = bool(node.get_int("sorted", 1))
    if not node.has("axis"):
        return unique_elements(node, data, ordered)
    rank = rank_of(data)
    axis = positive_axis(node.get_int("axis", 0), rank)
    shape = shape_of(data)
    if not is_static(shape):
        raise UserError(_SIZE)
    rows = node.transpose(data, [axis, *(each for each in range(rank) if each != axis)])
    flat = node.reshape(rows, (shape[axis], math.prod(shape) // shape[axis]))
    flat = node.cast(flat, "int8") if dtype_of(flat) == "bool" else flat
    _, starts, group, counts = unique_elements(node, node.emit(call("slice_ranks", [flat])), ordered)
    return node.emit(relax.op.take(data, starts, axis, mode="wrap")), starts, group, counts


def unique_elements(node: Node, data: Expr, ordered: bool) -> tuple[Expr, ...]:
    """Emit what Unique finds in a tensor's elements: values, first places, groups and counts.

    x 5 2 5 --stable sort--> 2 5 5 ; places 1 0 2 ; first of its value 1 1 0 ; y 2 5 ; group of each element 1 0 1

    Args:
        ordered: whether values are sorted, or stand in the order of their first elements.
    """
    count = math.prod(shape_of(data))
    if not is_static((count,)):
        raise UserError(_SIZE)
    flat = node.reshape(data, (count,))
    if count == 1:
        place = node.const([0], "int64")
        return flat, place, place, node.const([1], "int64")
    both = node.emit(relax.op.topk(flat, count, 0, "both", False, "int64"))
    values, order = (node.emit(relax.TupleGetItem(both, at)) for at in (0, 1))
    first = _differs_from_the_one_before(node, values, count)
    starts = node.emit(relax.op.take(order, found_places(node, first), 0, mode="wrap"))
    group = _scattered(node, order, _ordinal(node, first), count, "int64")
    if not ordered:
        marks = _scattered(node, order, node.cast(first, "int64"), count, "int64")
        owner = node.emit(relax.op.take(starts, group, 0, mode="wrap"))
        group = node.emit(relax.op.take(_ordinal(node, marks), owner, 0, mode="wrap"))
        starts = found_places(node, node.cast(marks, "bool"))
    result = node.emit(relax.op.take(flat, starts, 0, mode="wrap"))
    return result, starts, group, _counts(node, group, count, shape_of(starts)[0])


def _differs_from_the_one_before(node: Node, values: Expr, count: int) -> Expr:
    head = node.const(np.ones(1), "bool")
    later = node.emit(relax.op.strided_slice(values, [0], [1], [count]))
    earlier = node.emit(relax.op.strided_slice(values, [0], [0], [count - 1]))
    return node.emit(relax.op.concat([head, node.emit(relax.op.not_equal(later, earlier))], 0))


def _ordinal(node: Node, marks: Expr) -> Expr:
    """Return, for each element, how many marked ones stand up to it, less one."""
    total = node.emit(relax.op.cumsum(node.cast(marks, "int64"), 0))
    return node.emit(relax.op.subtract(total, node.const(1, total)))


def _scattered(node: Node, places: Expr, values: Expr, count: int, dtype: str) -> Expr:
    return node.emit(relax.op.scatter_elements(node.const(np.zeros(count), dtype), places, values, 0, "update"))


def _counts(node: Node, group: Expr, count: int, groups: int) -> Expr:
    ones = node.const(np.ones(count), "int64")
    totals = node.emit(relax.op.scatter_elements(node.const(np.zeros(count), "int64"), group, ones, 0, "add"))
    return relax.op.strided_slice(totals, [0], [0], [dim_expression(groups)], assume_inbound=True)
