"""Which layout a kernel takes that has no wish of its own: what its operands already have."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...atoms import Undecided
from ...channel_mix import mixes
from ...layout import Layout
from ...rearrangement import FILLED, Rearrangement
from ...registry import Registry
from ...workload import TensorType, Workload

#: From a workload and how its operands lie to the workload with layouts; None when it should be stored row-major.
Follow = Callable[[Workload, Sequence[Layout | None]], Workload | None]
_FOLLOWERS: Registry[Follow] = Registry("layout follower")


def follow(work: Workload, present: Sequence[Layout | None]) -> Workload | None:
    """Return a workload in the layout its operands have, None when its family follows none or they have none."""
    row = _FOLLOWERS.get(work.family)
    try:
        return row(work, present) if row and any(present) else None
    except Undecided:
        return None


def broadcast_layout(operand: TensorType, output: TensorType, layout: Layout) -> Layout | None:
    """Return how an operand that broadcasts to an output stored in ``layout`` should lie.

    Raises ValueError when it can lie in no way: it has part of the blocked axes, and padding would read past its end.
    """
    rank = len(output.shape)
    aligned = (1,) * (rank - len(operand.shape)) + operand.shape
    blocked = [axis for axis, block in enumerate(layout.blocks) if block > 1]
    varying = [axis for axis in blocked if aligned[axis] != 1]
    if not varying:
        return None
    if len(operand.shape) == rank and varying == blocked:
        return layout
    if any(output.shape[axis] % layout.blocks[axis] for axis in blocked):
        raise ValueError
    return None


@_FOLLOWERS.register("pointwise")
def _pointwise(work: Workload, present: Sequence[Layout | None]) -> Workload | None:
    whole = [layout for layout, operand in zip(present, work.inputs, strict=True) if operand.shape == work.output.shape]
    layout = next((each for each in whole if each), None)
    if layout is None:
        return None
    try:
        inputs = tuple(broadcast_layout(operand, work.output, layout) for operand in work.inputs)
    except ValueError:
        return None
    return work.with_layouts(inputs, (layout,))


@_FOLLOWERS.register("byte_table")
def _byte_table(work: Workload, present: Sequence[Layout | None]) -> Workload | None:
    return None if work.epilogue else work.with_layouts((present[0], None), (present[0],))


@_FOLLOWERS.register("reduce")
def _reduce(work: Workload, present: Sequence[Layout | None]) -> Workload | None:
    layout = present[0]
    if layout is None or len(work.inputs) > 1:
        return None
    if any(layout.blocks[axis] > 1 for axis in work.attr("axes")):
        return None
    return work.with_layouts((layout,), (layout if work.attr("keepdims") else None,))


#: A vector of channels mixed from more vectors than these is dearer than a change of layout.
_MOST_SOURCES = 4


@_FOLLOWERS.register("rearrange")
def _rearrange(work: Workload, present: Sequence[Layout | None]) -> Workload | None:
    layout = next((each for each in present[: work.anchor_arity] if each), None)
    if layout is None or [axis for axis, _ in layout.dims[:-1]] != list(range(len(work.output.shape))):
        return None
    moves, (blocked, block) = Rearrangement.of(dict(work.attrs)), layout.dims[-1]
    places = moves.places(blocked)
    if not block or (work.anchor_arity > 1 and moves.axis != blocked) or (places == FILLED).any():
        return None
    channels = [each.shape[blocked] for each in work.inputs[: work.anchor_arity]]
    if any(len(mix.sources) > _MOST_SOURCES for mix in mixes(places, channels, block)):
        return None
    try:
        extra = [broadcast_layout(each, work.output, layout) for each in work.inputs[work.anchor_arity :]]
    except ValueError:
        return None
    return work.with_layouts((*(layout,) * work.anchor_arity, *extra), (layout,))
