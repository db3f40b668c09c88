"""Operators that pick and place elements by index."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from .....atoms import plain
from .....dims import dim_expression
from .....errors import UserError
from .....passes.tensor_functions import call
from .....shapes import is_static
from .....tvm_names import constant_value, is_constant, shape_of
from ..node import Node, constant, positive_axis, rank_of
from ..registry import operator
from .data_dependent import compress_found, top_k_of_any

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("Gather")
def gather(node: Node, data: Expr, indices: Expr) -> Expr:
    """Slices of data along an axis.

    Constant indices are checked and made positive; others wrap around, so that no index leaves the data.
    """
    axis = positive_axis(node.get_int("axis", 0), rank_of(data))
    size = shape_of(data)[axis]
    if is_constant(indices) and is_static((size,)):
        return relax.op.take(data, _wrapped(node, indices, size), axis, mode="fast")
    if is_constant(indices) and constant_value(indices).size == 1:
        return _one_slice(node, data, int(constant_value(indices).reshape(())), axis, shape_of(indices))
    return relax.op.take(data, indices, axis, mode="wrap")


@operator("GatherElements")
def gather_elements(node: Node, data: Expr, indices: Expr) -> Expr:
    """One element of data for each index, along an axis."""
    axis = positive_axis(node.get_int("axis", 0), rank_of(data))
    return relax.op.gather_elements(data, _wrapped(node, indices, shape_of(data)[axis]), axis)


@operator("GatherND")
def gather_nd(node: Node, data: Expr, indices: Expr) -> Expr:
    """Slices of data, each named by a vector of indices; ``batch_dims`` since opset 12."""
    batch = node.get_int("batch_dims", 0)
    depth = shape_of(indices)[-1]
    sizes = np.asarray(shape_of(data)[batch : batch + depth])
    return relax.op.gather_nd(data, _wrapped(node, indices, sizes), batch)


@operator("ScatterElements", "Scatter")
def scatter_elements(node: Node, data: Expr, indices: Expr, updates: Expr) -> Expr:
    """A copy of data with elements replaced along an axis, or joined as ``reduction`` (opset 16) says."""
    axis = positive_axis(node.get_int("axis", 0), rank_of(data))
    placed = _wrapped(node, indices, shape_of(data)[axis])
    return relax.op.scatter_elements(data, placed, updates, axis, _reduction(node))


@operator("ScatterND")
def scatter_nd(node: Node, data: Expr, indices: Expr, updates: Expr) -> Expr:
    """A copy of data with slices replaced, or joined as ``reduction`` (opset 16) says."""
    depth = shape_of(indices)[-1]
    placed = _wrapped(node, indices, np.asarray(shape_of(data)[:depth]))
    return relax.op.scatter_nd(data, placed, updates, _reduction(node))


@operator("TensorScatter", since=24)
def tensor_scatter(node: Node, cache: Expr, update: Expr, starts: Expr | None = None) -> Expr:
    """A copy of a cache with the steps of an update written along an axis, in each example from its start on."""
    axis = positive_axis(node.get_int("axis", -2), rank_of(cache))
    if starts is None:
        starts = constant(np.zeros(shape_of(cache)[0], np.int64))
    circular = int(node.get_string("mode", "linear") == "circular")
    return call("tensor_scatter", [cache, update, starts], axis=axis, circular=circular)


@operator("OneHot")
def one_hot(node: Node, indices: Expr, depth: Expr, values: Expr) -> Expr:
    """The second value where an index names the place along a new axis, else the first.

    Negative indices count from the back.
    """
    count = int(node.array(depth, "the depth of OneHot").reshape(-1)[0])
    axis = positive_axis(node.get_int("axis", -1), rank_of(indices) + 1)
    shape = shape_of(indices)
    whole = node.cast(indices, "int64")
    below = node.emit(relax.op.less(whole, node.const(0, whole)))
    places = node.emit(relax.op.where(below, node.emit(relax.op.add(whole, node.const(count, whole))), whole))
    places = node.reshape(places, (*shape[:axis], 1, *shape[axis:]))
    ruler = np.arange(count).reshape((count,) + (1,) * (len(shape) - axis))
    hit = node.emit(relax.op.equal(places, node.const(ruler, places)))
    off, on = (_element(node, values, index) for index in range(2))
    return relax.op.where(hit, on, off)


@operator("TopK")
def top_k_attribute(node: Node, data: Expr) -> tuple[Expr, ...]:
    """The k largest elements along an axis and their indices, k an attribute before opset 10."""
    return _top_k(node, data, node.get_int("k", 1))


@operator("TopK", since=10)
def top_k(node: Node, data: Expr, k: Expr) -> tuple[Expr, ...]:
    """The k largest elements along an axis and their indices, or the smallest (opset 11); always sorted."""
    if is_constant(k) or node.follows_from_shapes(k):
        return _top_k(node, data, node.int_list(k, "the k of TopK")[0])
    axis = positive_axis(node.get_int("axis", -1), rank_of(data))
    return top_k_of_any(node, _top_k(node, data, shape_of(data)[axis]), k, axis)


@operator("ReverseSequence")
def reverse_sequence(node: Node, data: Expr, lengths: Expr) -> Expr:
    """The first elements of each sequence, as many as its length, in reverse."""
    return relax.op.reverse_sequence(data, lengths, node.get_int("time_axis", 0), node.get_int("batch_axis", 1))


@operator("Compress")
def compress(node: Node, data: Expr, condition: Expr) -> Expr:
    """The slices along an axis (or the elements) for which a condition holds."""
    if not is_constant(condition):
        return compress_found(node, data, condition)
    chosen = np.flatnonzero(node.array(condition, "the condition of Compress"))
    if not node.has("axis"):
        data = node.reshape(data, (math.prod(shape_of(data)),))
    axis = positive_axis(node.get_int("axis", 0), rank_of(data))
    if chosen.size == 0:
        raise UserError("it takes no elements; nothing can be compiled for a tensor without elements")
    return relax.op.take(data, constant(chosen), axis, mode="fast")


def _one_slice(node: Node, data: Expr, index: int, axis: int, shape: tuple[int, ...]) -> Expr:
    """Return the slice at a constant index of an axis that only a run knows the size of."""
    sizes = shape_of(data)
    first = index + sizes[axis] if index < 0 else index
    if not 0 <= first < sizes[axis]:
        raise UserError(f"its index {index} lies outside an axis of {plain(sizes[axis])}")
    cut = relax.op.strided_slice(
        data, [axis], [dim_expression(first)], [dim_expression(first + 1)], assume_inbound=True
    )
    return node.reshape(node.emit(cut), (*sizes[:axis], *shape, *sizes[axis + 1 :]))


def _top_k(node: Node, data: Expr, count: int) -> tuple[Expr, ...]:
    axis = positive_axis(node.get_int("axis", -1), rank_of(data))
    largest = bool(node.get_int("largest", 1))
    both = node.emit(relax.op.topk(data, count, axis, "both", largest, "int64"))
    return node.emit(relax.TupleGetItem(both, 0)), node.emit(relax.TupleGetItem(both, 1))


def _element(node: Node, values: Expr, index: int) -> Expr:
    if is_constant(values):
        return constant(constant_value(values)[index].reshape(()))
    return node.reshape(node.emit(relax.op.strided_slice(values, [0], [index], [index + 1])), ())


def _wrapped(node: Node, indices: Expr, size: int | NDArray[np.int64]) -> Expr:
    """Return indices with the negative ones counted from the back and all of them kept inside the data."""
    if is_constant(indices):
        array: NDArray[Any] = constant_value(indices)
        if array.size and ((array < -np.asarray(size)).any() or (array >= np.asarray(size)).any()):
            raise UserError(f"its indices lie outside the sizes {size}")
        return constant(np.where(array < 0, array + size, array).astype(array.dtype))
    return node.emit(relax.op.floor_mod(indices, node.const(size, indices)))


def _reduction(node: Node) -> str:
    name = node.get_string("reduction", "none")
    return {"none": "update"}.get(name, name)
