"""Unique: as many results as there are different elements, known only to a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....dims import dim_expression
from .....errors import UserError
from .....shapes import is_static
from .....tvm_names import shape_of
from ..node import Node
from ..registry import operator
from .data_dependent import found_places

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("Unique")
def unique(node: Node, data: Expr) -> tuple[Expr, ...]:
    """The different elements of a tensor, where each is first, which of them each element is, and how often it is.

    x 5 2 5 --stable sort--> 2 5 5 ; places 1 0 2 ; first of its value 1 1 0 ; y 2 5 ; group of each element 1 0 1

    Unsorted results stand in the order of their first elements.
    """
    count = math.prod(shape_of(data))
    if node.has("axis"):
        raise UserError("it compares slices along an axis; only elements can be compared: leave axis away")
    if not is_static((count,)):
        raise UserError("its operand's size is known only to a run; give the operand a fixed size")
    flat = node.reshape(data, (count,))
    if count == 1:
        place = node.const([0], "int64")
        return flat, place, place, node.const([1], "int64")
    both = node.emit(relax.op.topk(flat, count, 0, "both", False, "int64"))
    values, order = (node.emit(relax.TupleGetItem(both, at)) for at in (0, 1))
    first = _differs_from_the_one_before(node, values, count)
    starts = node.emit(relax.op.take(order, found_places(node, first), 0, mode="wrap"))
    group = _scattered(node, order, _ordinal(node, first), count, "int64")
    if not node.get_int("sorted", 1):
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
