"""Operators that join, cut and pad tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....dims import Dim, operation
from .....errors import UserError
from .....shapes import is_static
from .....tvm_names import dtype_of, expressions, shape_of
from ..node import Node, constant, positive_axis, rank_of
from ..registry import operator
from ..run_time_sizes import Sized, elements_of, is_known
from .data_slices import slice_by_data, split_by_data

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("Concat")
def concat(node: Node, *operands: Expr) -> Expr:
    """Tensors joined along an axis (1 where opsets before 4 do not say); those without elements are left out."""
    axis = positive_axis(node.get_int("axis", 1), rank_of(operands[0]))
    kept = [each for each in operands if 0 not in shape_of(each)]
    return kept[0] if len(kept) == 1 else relax.op.concat(kept, axis)


@operator("Split")
def split(node: Node, data: Expr, sizes: Expr | None = None) -> tuple[Expr, ...]:
    """A tensor cut along an axis into given sizes (an operand since opset 13) or as evenly as can be."""
    axis = positive_axis(node.get_int("axis", 0), rank_of(data))
    total = shape_of(data)[axis]
    if sizes is not None and not node.is_known(sizes):
        return split_by_data(node, data, elements_of(node, sizes), axis)
    given = node.get_ints("split", ()) if sizes is None else node.int_list(sizes, "the sizes of Split")
    if not given:
        count = len(node.proto.output)
        each = -(-total // count)
        given = (*(each,) * (count - 1), total - each * (count - 1))
    if sum(given) != total or min(given) < 0:
        raise UserError(f"{total} elements cannot be split into {list(given)}")
    full = [size for size in given if size]
    if len(full) == 1:
        pieces = iter([data])
    else:
        cuts = [sum(full[:index]) for index in range(1, len(full))]
        parts = node.emit(relax.op.split(data, cuts, axis))
        pieces = iter([node.emit(relax.TupleGetItem(parts, index)) for index in range(len(full))])
    return tuple(next(pieces) if size else _empty(data, axis) for size in given)


@operator("Slice")
def slice_attributes(node: Node, data: Expr) -> Expr:
    """Elements between ``starts`` and ``ends`` along axes, given by attributes before opset 10."""
    starts, ends = node.get_ints("starts", ()), node.get_ints("ends", ())
    return _slice(node, data, starts, ends, node.get_ints("axes", tuple(range(len(starts)))), (1,) * len(starts))


@operator("Slice", since=10)
def slice_operands(
    node: Node, data: Expr, starts: Expr, ends: Expr, axes: Expr | None = None, steps: Expr | None = None
) -> Expr:
    """Every ``steps``-th element from ``starts`` to before ``ends`` along axes, clamped to the axis."""
    first, last = elements_of(node, starts), elements_of(node, ends)
    along = tuple(range(len(first))) if axes is None else node.int_list(axes, "the axes of Slice")
    stride = (1,) * len(first) if steps is None else node.int_list(steps, "the steps of Slice")
    if not all(map(is_known, (*first, *last))):
        return slice_by_data(node, data, first, last, along, stride)
    return _slice(node, data, tuple(first), tuple(last), along, stride)


@operator("Pad")
def pad_attributes(node: Node, data: Expr) -> Expr:
    """Padding given by attributes before opset 11."""
    widths = node.get_ints("pads", node.get_ints("paddings", ()))
    return _pad(node, data, widths, node.get_float("value", 0.0), tuple(range(rank_of(data))))


@operator("Pad", since=11)
def pad(node: Node, data: Expr, pads: Expr, value: Expr | None = None, axes: Expr | None = None) -> Expr:
    """Elements added at the ends of axes (some only, since opset 18), or cut off where a width is negative."""
    sized = Sized(node, data)
    widths = tuple(sized.sizes(pads, "a pad of Pad"))
    data = sized.data
    fill = 0.0 if value is None else node.array(value, "the value of Pad").reshape(-1)[0].item()
    along = tuple(range(rank_of(data))) if axes is None else node.int_list(axes, "the axes of Pad")
    return _pad(node, data, widths, fill, along)


def _slice(
    node: Node,
    data: Expr,
    starts: tuple[int, ...],
    ends: tuple[int, ...],
    axes: tuple[int, ...],
    steps: tuple[int, ...],
) -> Expr:
    shape = shape_of(data)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise UserError("its starts, ends, axes and steps do not belong together")
    bounds: dict[int, tuple[int, int, int]] = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        along = positive_axis(axis, len(shape))
        bounds[along] = _clamped(start, end, step, shape[along])
    kept = {axis: each for axis, each in bounds.items() if each != (0, shape[axis], 1)}
    for axis, each in kept.items():
        if is_static(each) and len(range(*each)) == 0:
            return _empty(data, axis)
    if not kept:
        return data
    if all(
        step == -1 and is_static((start, end)) and len(range(start, end, step)) == shape[axis]
        for axis, (start, end, step) in kept.items()
    ):
        for axis in kept:
            data = node.emit(relax.op.flip(data, axis))
        return data
    return _strided(node, data, kept)


def _clamped(start: int, end: int, step: int, size: int) -> tuple[int, int, int]:
    """Return bounds inside an axis; backwards, a start before the axis is its first element, unlike in Python."""
    start, end = (place + size if place < 0 else place for place in (start, end))
    if step > 0:
        first, last = (operation("min", operation("max", place, 0), size) for place in (start, end))
        return first, last, step
    return min(max(start, 0), size - 1), min(max(end, -1), size - 1), step


def _empty(data: Expr, axis: int) -> Expr:
    """Return a constant like data with no elements along an axis."""
    shape = shape_of(data)
    return constant(np.zeros((*shape[:axis], 0, *shape[axis + 1 :]), np.dtype(dtype_of(data))))


def _strided(node: Node, data: Expr, bounds: dict[int, tuple[int, int, int]]) -> Expr:
    for axis, (start, end, step) in list(bounds.items()):
        if step < 0:
            # Backwards is forwards over the mirrored axis.
            size = shape_of(data)[axis]
            data = node.emit(relax.op.flip(data, axis))
            count = len(range(start, end, step))
            first = size - 1 - start
            bounds[axis] = (first, first + (count - 1) * -step + 1, -step)
    axes = sorted(bounds)
    begins, ends, steps = (list(each) for each in zip(*(bounds[axis] for axis in axes), strict=True))
    inbound = not is_static((*begins, *ends))
    return relax.op.strided_slice(data, axes, expressions(begins), expressions(ends), steps, assume_inbound=inbound)


def _joined_pads(node: Node, data: Expr, widths: tuple[int, ...], fill: float, axes: tuple[int, ...]) -> Expr:
    """Return data between tensors of the padding's number, along one axis after the other."""
    number = node.const(fill, data)
    for index, axis in enumerate(axes):
        along = positive_axis(axis, rank_of(data))
        parts: list[Expr] = [data]
        for place, width in ((0, widths[index]), (2, widths[index + len(axes)])):
            if isinstance(width, Dim) or width:
                shape = list(shape_of(data))
                shape[along] = width
                parts.insert(place, node.emit(relax.op.full(relax.ShapeExpr(expressions(shape)), number)))
        data = parts[0] if len(parts) == 1 else node.emit(relax.op.concat(parts, along))
    return data


#: ONNX's padding modes in TVM's words.
_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _pad(node: Node, data: Expr, widths: tuple[int, ...], fill: float, axes: tuple[int, ...]) -> Expr:
    if len(widths) != 2 * len(axes):
        raise UserError(f"it has {len(widths)} pads for {len(axes)} axes")
    rank = rank_of(data)
    mode = node.get_string("mode", "constant")
    if mode == "constant" and not is_static(widths):
        return _joined_pads(node, data, widths, fill, axes)
    before, after = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        along = positive_axis(axis, rank)
        before[along], after[along] = widths[index], widths[index + len(axes)]
    cuts = {
        axis: (max(-before[axis], 0), size - max(-after[axis], 0), 1)
        for axis, size in enumerate(shape_of(data))
        if before[axis] < 0 or after[axis] < 0
    }
    if cuts:
        data = node.emit(_strided(node, data, cuts))
    pairs = [max(width, 0) for both in zip(before, after, strict=True) for width in both]
    if not any(pairs):
        return data
    if mode not in _PAD_MODES:
        raise UserError(f"the padding mode '{mode}' is not supported")
    if mode != "constant" or dtype_of(data).startswith("float"):
        return relax.op.nn.pad(data, pairs, _PAD_MODES[mode], float(fill))
    wide = node.emit(relax.op.nn.pad(node.cast(data, "float64"), pairs, "constant", float(fill)))
    return node.cast(wide, dtype_of(data))
