"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tvm import relax

from .....passes.tensor_functions import call
from .....tvm_names import dtype_of, shape_of
from ..node import Node, positive_axis, rank_of
from ..registry import RowFunction, operator

if TYPE_CHECKING:
    from tvm.relax import Expr

#: What a reduction computes from (node, data, axes, keepdims).
Reduction = Callable[[Node, Any, list[int], bool], Any]


def _reduction(compute: Reduction) -> RowFunction:
    def convert(node: Node, data: Expr, axes: Expr | None = None) -> Expr:
        given = node.get_ints("axes", ()) if axes is None else node.int_list(axes, "the axes of a reduction")
        if not given and node.get_int("noop_with_empty_axes", 0):
            chosen: list[int] = []
        else:
            chosen = sorted({positive_axis(axis, rank_of(data)) for axis in given or range(rank_of(data))})
        return compute(node, data, chosen, bool(node.get_int("keepdims", 1)))

    return convert


def _plain(make: Callable[..., Any]) -> Reduction:
    def compute(node: Node, data: Expr, axes: list[int], keepdims: bool) -> Expr:
        return make(data, axes, keepdims) if axes else data

    return compute


def _boolean(make: Callable[..., Any]) -> Reduction:
    def compute(node: Node, data: Expr, axes: list[int], keepdims: bool) -> Expr:
        if dtype_of(data) != "bool":
            return _plain(make)(node, data, axes, keepdims)
        return node.cast(node.emit(_plain(make)(node, node.cast(data, "int8"), axes, keepdims)), "bool")

    return compute


def _l1(node: Node, data: Expr, axes: list[int], keepdims: bool) -> Expr:
    return _plain(relax.op.sum)(node, node.emit(relax.op.abs(data)), axes, keepdims)


def _sum_square(node: Node, data: Expr, axes: list[int], keepdims: bool) -> Expr:
    return _plain(relax.op.sum)(node, node.emit(relax.op.multiply(data, data)), axes, keepdims)


def _l2(node: Node, data: Expr, axes: list[int], keepdims: bool) -> Expr:
    total = node.emit(_sum_square(node, data, axes, keepdims))
    if dtype_of(data).startswith("float"):
        return relax.op.sqrt(total)
    return node.cast(node.emit(relax.op.sqrt(node.cast(total, "float64"))), dtype_of(data))


def _log_sum(node: Node, data: Expr, axes: list[int], keepdims: bool) -> Expr:
    return relax.op.log(node.emit(_plain(relax.op.sum)(node, data, axes, keepdims)))


def _log_sum_exp(node: Node, data: Expr, axes: list[int], keepdims: bool) -> Expr:
    """``m + log(sum(exp(x - m)))`` with m the maximum: it does not overflow."""
    if not axes:
        return data
    top = node.emit(relax.op.max(data, axes, keepdims=True))
    exponents = node.emit(relax.op.exp(node.emit(relax.op.subtract(data, top))))
    total = node.emit(relax.op.sum(exponents, axes, keepdims=True))
    result = node.emit(relax.op.add(node.emit(relax.op.log(total)), top))
    kept = [size for axis, size in enumerate(shape_of(data)) if axis not in axes]
    return result if keepdims else node.reshape(result, kept)


#: Every opset: axes are an attribute first and an operand since opset 13 (sum) or 18 (the others).
_REDUCTIONS: dict[str, Reduction] = {
    "ReduceL1": _l1,
    "ReduceL2": _l2,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": _boolean(relax.op.max),
    "ReduceMean": _plain(relax.op.mean),
    "ReduceMin": _boolean(relax.op.min),
    "ReduceProd": _plain(relax.op.prod),
    "ReduceSum": _plain(relax.op.sum),
    "ReduceSumSquare": _sum_square,
}
for _name, _compute in _REDUCTIONS.items():
    operator(_name)(_reduction(_compute))


@operator("ArgMax")
def arg_max(node: Node, data: Expr) -> Expr:
    """The index of the first maximum along an axis, or of the last with ``select_last_index`` (opset 12)."""
    return _arg(node, data, relax.op.argmax)


@operator("ArgMin")
def arg_min(node: Node, data: Expr) -> Expr:
    """The index of the first minimum along an axis, or of the last with ``select_last_index`` (opset 12)."""
    return _arg(node, data, relax.op.argmin)


@operator("CumSum")
def cumulative_sum(node: Node, data: Expr, axis: Expr) -> Expr:
    """Running sums along an axis, ``exclusive`` of the element itself and in ``reverse`` where the node says so."""
    return _running(node, data, axis, relax.op.cumsum)


@operator("CumProd", since=26)
def cumulative_product(node: Node, data: Expr, axis: Expr) -> Expr:
    """Running products along an axis, ``exclusive`` of the element itself and in ``reverse`` where the node says so."""
    return _running(node, data, axis, _products)


def _products(data: Expr, axis: int, dtype: str, exclusive: bool) -> Expr:
    return call("running_product", [data], axis=axis, exclusive=int(exclusive))


def _running(node: Node, data: Expr, axis: Expr, make: Callable[..., Any]) -> Expr:
    along = positive_axis(node.int_list(axis, f"the axis of {node.op_type}")[0], rank_of(data))
    backwards = bool(node.get_int("reverse", 0))
    if backwards:
        data = node.emit(relax.op.flip(data, along))
    running = node.emit(make(data, along, dtype_of(data), bool(node.get_int("exclusive", 0))))
    return relax.op.flip(running, along) if backwards else running


def _arg(node: Node, data: Expr, make: Callable[..., Any]) -> Expr:
    axis = positive_axis(node.get_int("axis", 0), rank_of(data))
    keepdims = bool(node.get_int("keepdims", 1))
    if not node.get_int("select_last_index", 0):
        return make(data, axis, keepdims)
    reverse = node.emit(make(node.emit(relax.op.flip(data, axis)), axis, keepdims))
    return relax.op.subtract(node.const(shape_of(data)[axis] - 1, reverse), reverse)
