"""Operands as strides along the stored dimensions of an output, and loops merged where all strides allow it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..workload import TensorType

#: Dimensions of a tensor in memory: one (axis, block) for each, the block 0 for the axis itself.
Dims = tuple[tuple[int, int], ...]


def stored_dims(tensor: TensorType) -> Dims:
    """Return the stored dimensions of a tensor, of a plain one too."""
    return tensor.layout.dims if tensor.layout else tuple((axis, 0) for axis in range(len(tensor.shape)))


def blocks_of(tensor: TensorType) -> tuple[int, ...]:
    """Return the block of each logical axis, 1 where it has none."""
    return tensor.layout.blocks if tensor.layout else (1,) * len(tensor.shape)


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides, in elements, of a contiguous array."""
    strides = [1]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    return tuple(strides[: len(shape)])


def axis_strides(tensor: TensorType) -> dict[tuple[int, bool], int]:
    """Return the stride of each stored dimension under (axis, whether it is the block of the axis)."""
    strides = row_major(tensor.stored_shape)
    return {(axis, bool(block)): stride for (axis, block), stride in zip(stored_dims(tensor), strides, strict=True)}


def strides_along(operand: TensorType, output: TensorType) -> tuple[int, ...] | None:
    """Return the operand's stride, in elements, along each stored dimension of the output it broadcasts to.

    None when the operand has blocks that the output's do not match, so that no stride describes it.
    """
    strides = axis_strides(operand)
    blocks, output_blocks = blocks_of(operand), blocks_of(output)
    offset = len(output.shape) - len(operand.shape)
    found = []
    for out_axis, out_block in stored_dims(output):
        axis = out_axis - offset
        if axis < 0 or operand.shape[axis] == 1:
            found.append(0)
        elif blocks[axis] == output_blocks[out_axis]:
            found.append(strides[axis, bool(out_block)])
        elif blocks[axis] == 1:
            found.append(strides[axis, False] * (1 if out_block else output_blocks[out_axis]))
        else:
            return None
    return tuple(found)


@dataclass(frozen=True)
class Loop:
    """A loop over one or more adjacent stored dimensions.

    Attributes:
        extent: how many steps it has.
        strides: the step of each operand, in elements.
        dims: the dimensions it covers.
    """

    extent: int
    strides: tuple[int, ...]
    dims: tuple[int, ...]


def merged(extents: Sequence[int], strides: Sequence[Sequence[int]], apart: Sequence[int] = ()) -> list[Loop]:
    """Return the fewest loops over dimensions, outermost first, for operands with these strides along them.

    Adjacent dimensions become one loop where every operand steps through both as through one. Dimensions of one
    element vanish, except those in ``apart``, which keep a loop of their own.
    """
    loops: list[Loop] = []
    for dim, extent in enumerate(extents):
        steps = tuple(each[dim] for each in strides)
        before = loops[-1] if loops else None
        if extent == 1 and dim not in apart:
            continue
        joins = before and before.strides == tuple(step * extent for step in steps)
        if before and joins and dim not in apart and before.dims[-1] not in apart:
            loops[-1] = Loop(before.extent * extent, steps, (*before.dims, dim))
        else:
            loops.append(Loop(extent, steps, (dim,)))
    return loops
