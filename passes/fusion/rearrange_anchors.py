"""Anchors that move elements and compute nothing: joined, cut, padded, repeated and mirrored tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from ...atoms import Undecided
from ...rearrangement import FILLED, Places, Rearrangement, runs_of, whole
from ...registry import Registry
from ...tvm_names import constant_value, dim_of, dtype_of, is_constant, shape_of
from ...workload import attributes
from ..expressions import ints, operator_name
from .anchors import ANCHORS, Anchor, FindView
from .graph import Graph

if TYPE_CHECKING:
    from tvm.relax import Call, Expr

#: More runs along the axes, and the kernel would be mostly code; channels of images are mixed at will.
_RUNS, _CHANNEL_RUNS = 64, 1024
_PLACES: Registry[Callable[[Call], Rearrangement | None]] = Registry("rearrangement")


def _anchor(call: Call, view_of: FindView) -> Anchor | None:
    """take(take(x, rows), columns)  -->  one rearrangement of x that reads through the first."""
    moves = rearrangement_of(call)
    if moves is None:
        return None
    data = call.args[0]
    view = view_of(data)
    if view is None:
        operands = tuple(data.fields) if isinstance(data, relax.Tuple) else (data,)
        return Anchor("rearrange", operands, attributes(moves.attributes()))
    inner = _anchor(view, view_of)
    assert inner is not None
    earlier = Rearrangement.of(dict(inner.attrs))
    sizes = list(shape_of(inner.operands[0]))
    sizes[earlier.axis] = sum(shape_of(each)[earlier.axis] for each in inner.operands)
    joined = _after(moves, earlier, sizes)
    if joined is None or not few_runs(joined):
        return None
    return Anchor("rearrange", inner.operands, attributes(joined.attributes()), (data, *inner.views))


def rearrangements_read_through(graph: Graph) -> set[int]:
    """Return the rearrangements that one other alone reads, and both are as simple as one."""
    found: set[int] = set()

    def view_of(expr: Expr) -> Call | None:
        index = graph.position.get(expr, -1)
        return graph.calls[index] if index in found else None

    for index, call in graph.calls.items():
        (reader, *others) = graph.readers[graph.bindings[index].var] or [-1]
        follower = graph.calls.get(reader)
        if others or follower is None or rearrangement_of(call) is None or rearrangement_of(follower) is None:
            continue
        found.add(index)
        if not follower.args[0].same_as(graph.bindings[index].var) or _anchor(follower, view_of) is None:
            found.remove(index)
    return found


def rearrangement_of(call: Call) -> Rearrangement | None:
    """Return what a call moves where, None for another operator and for what no kernel should be made of."""
    row = _PLACES.get(operator_name(call))
    try:
        moves = row(call) if row else None
    except Undecided:  # places are numbers
        return None
    return moves if moves and few_runs(moves) else None


def _after(outer: Rearrangement, inner: Rearrangement, sizes: list[int]) -> Rearrangement | None:
    try:
        return outer.after(inner, sizes)
    except Undecided:
        return None


def few_runs(moves: Rearrangement) -> bool:
    """Return whether a rearrangement is simple enough for a kernel."""
    counts = [len(runs) for runs in moves.runs]
    channels = counts.pop(1) if len(counts) == 4 else 1
    return math.prod(counts) <= _RUNS and channels <= _CHANNEL_RUNS


def _of_one(call: Call, places: Mapping[int, Places], fill: float = 0.0) -> Rearrangement | None:
    """Return the rearrangement of one operand by its places along some axes, counted from the back where negative."""
    shape = shape_of(call.args[0])
    if len(shape_of(call)) != len(shape):
        return None
    along = {axis % len(shape): each for axis, each in places.items()}
    runs = tuple(
        runs_of(np.asarray(along[axis], np.int64), size) if axis in along else whole(size)
        for axis, size in enumerate(shape)
    )
    return Rearrangement(0, runs, fill)


@_PLACES.register("concat")
def _concat(call: Call) -> Rearrangement | None:
    if not isinstance(call.args[0], relax.Tuple) or call.attrs.axis is None:
        return None
    shape = shape_of(call)
    return Rearrangement(int(call.attrs.axis) % len(shape), tuple(map(whole, shape)))


@_PLACES.register("strided_slice")
def _slice(call: Call) -> Rearrangement | None:
    if not all(isinstance(each, relax.Tuple) for each in call.args[1:]):
        return None
    axes, starts, ends, *steps = (tuple(map(dim_of, each.fields)) for each in call.args[1:])
    shape = shape_of(call.args[0])
    strides = steps[0] if steps else (1,) * len(axes)
    if min(strides) < 1 or min(starts) < 0:
        return None
    return _of_one(
        call,
        {
            axis: np.arange(start, min(end, shape[axis]), step)
            for axis, start, end, step in zip(axes, starts, ends, strides, strict=True)
        },
    )


@_PLACES.register("take")
def _take(call: Call) -> Rearrangement | None:
    data, indices = call.args
    if not is_constant(indices) or len(shape_of(indices)) != 1 or call.attrs.axis is None:
        return None
    axis = int(call.attrs.axis) % len(shape_of(data))
    chosen = constant_value(indices).astype(np.int64)
    if chosen.size == 0 or chosen.min() < 0 or chosen.max() >= shape_of(data)[axis]:
        return None
    return _of_one(call, {axis: chosen})


@_PLACES.register("flip")
def _flip(call: Call) -> Rearrangement | None:
    axis = int(call.attrs.axis) % len(shape_of(call))
    return _of_one(call, {axis: np.arange(shape_of(call)[axis])[::-1]})


@_PLACES.register("tile")
def _tile(call: Call) -> Rearrangement | None:
    shape, out = shape_of(call.args[0]), shape_of(call)
    return _of_one(call, {axis: np.arange(size) % shape[axis] for axis, size in enumerate(out) if size != shape[axis]})


@_PLACES.register("nn.pad")
def _pad(call: Call) -> Rearrangement | None:
    widths, mode = ints(call.attrs.pad_width), str(call.attrs.pad_mode)
    how = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}.get(mode)
    if how is None or dtype_of(call) == "bool":
        return None
    fill = {"constant_values": FILLED} if how == "constant" else {}
    places = {
        axis: np.pad(np.arange(size), widths[2 * axis : 2 * axis + 2], how, **fill)  # type: ignore[call-overload]
        for axis, size in enumerate(shape_of(call.args[0]))
        if any(widths[2 * axis : 2 * axis + 2])
    }
    return _of_one(call, places, float(call.attrs.pad_value))


for _name in ("concat", "strided_slice", "take", "flip", "tile", "nn.pad"):
    ANCHORS.register(_name)(_anchor)
