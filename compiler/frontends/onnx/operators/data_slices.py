"""Slices whose bounds are computed from the model's inputs: they are held inside the axis, and so is their result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....dims import Dim, upper
from .....errors import UserError
from .....tvm_names import expressions, shape_of
from ..node import Node, positive_axis
from ..run_time_sizes import Element, Sized, arithmetic, is_known, tensor_of

if TYPE_CHECKING:
    from tvm.relax import Expr


def slice_by_data(
    node: Node,
    data: Expr,
    starts: Sequence[Element],
    ends: Sequence[Element],
    axes: Sequence[int],
    steps: Sequence[int],
) -> Expr:
    """Return every ``step``-th element from a start to before an end along axes, forwards."""
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise UserError("its starts, ends, axes and steps do not belong together")
    if any(isinstance(step, Dim) or step < 1 for step in steps):
        raise UserError("a slice that runs backwards needs constant starts and ends: make them initializers")
    sized = Sized(node, data)
    cuts: dict[int, tuple[int, int, int]] = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        along = positive_axis(axis, len(shape_of(data)))
        size = shape_of(data)[along]
        first, last = _inside(node, start, size), _inside(node, end, size)
        span = arithmetic(node, "maximum", arithmetic(node, "subtract", last, first), 0)
        count = arithmetic(node, "floor_divide", arithmetic(node, "add", span, step - 1), step)
        begin = 0 if is_known(start) and start == 0 else sized.size(first, "a start of Slice", 0, upper(size))
        length = sized.size(count, "an end of Slice", 0, -(-upper(size) // step))
        cuts[along] = (begin, begin + length * step, step)
    return _cut(sized.data, cuts)


def split_by_data(node: Node, data: Expr, sizes: Sequence[Element], axis: int) -> tuple[Expr, ...]:
    """Return pieces along an axis of sizes that only a run knows; a run in which they are not the axis fails."""
    size = shape_of(data)[axis]
    total: Element = 0
    for each in sizes:
        total = arithmetic(node, "add", total, each)
    right = node.emit(relax.op.equal(total, tensor_of(node, size)))
    sized = Sized(node, data)
    lengths = []
    for each in sizes:
        checked = node.emit(relax.op.where(right, tensor_of(node, each), node.const(np.asarray([-1]), "int64")))
        lengths.append(sized.size(checked, "a size of Split", 0, upper(size)))
    first = 0
    pieces = []
    for length in lengths:
        pieces.append(node.emit(_cut(sized.data, {axis: (first, first + length, 1)})))
        first = first + length
    return tuple(pieces)


def _inside(node: Node, place: Element, size: int) -> Expr:
    """Return a place held inside an axis, counted from its end where it is negative, as an int64 tensor [1]."""
    tensor = tensor_of(node, place)
    negative = node.emit(relax.op.less(tensor, node.const([0], "int64")))
    counted = node.emit(relax.op.where(negative, arithmetic(node, "add", tensor, size), tensor))
    return arithmetic(node, "minimum", arithmetic(node, "maximum", counted, 0), size)


def _cut(data: Expr, cuts: dict[int, tuple[int, int, int]]) -> Expr:
    axes = sorted(cuts)
    begins, ends, steps = (list(each) for each in zip(*(cuts[axis] for axis in axes), strict=True))
    return relax.op.strided_slice(data, axes, expressions(begins), expressions(ends), steps, assume_inbound=True)
