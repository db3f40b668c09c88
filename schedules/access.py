"""Where an element of a tensor lies: logical indices to stored ones and back, with numpy's broadcasting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from ..workload import TensorType
from .bindings import Expr


def stored_indices(tensor: TensorType, logical: Sequence[Expr]) -> list[Expr]:
    """Return the indices into the buffer of the element at these logical indices.

    An index past the logical shape but inside the last block addresses the padding.
    """
    if tensor.layout is None:
        return list(logical)
    blocks = tensor.layout.blocks
    return [
        logical[axis] % block if block else logical[axis] // blocks[axis] if blocks[axis] > 1 else logical[axis]
        for axis, block in tensor.layout.dims
    ]


def logical_indices(tensor: TensorType, stored: Sequence[Expr]) -> list[Expr]:
    """Return the logical indices of the element at these indices into the buffer."""
    if tensor.layout is None:
        return list(stored)
    outer: dict[int, Expr] = {}
    inner: dict[int, Expr] = {}
    for (axis, block), index in zip(tensor.layout.dims, stored, strict=True):
        (inner if block else outer)[axis] = index
    blocks = tensor.layout.blocks
    return [outer[axis] * blocks[axis] + inner[axis] if axis in inner else outer[axis] for axis in sorted(outer)]


def inside(tensor: TensorType, logical: Sequence[Expr]) -> Expr | None:
    """Return the condition under which an element is not padding; None when the tensor has no padding."""
    if tensor.layout is None:
        return None
    tests = [
        index < tirx.const(size, "int32")
        for index, size, block in zip(logical, tensor.shape, tensor.layout.blocks, strict=True)
        if size % block != 0
    ]
    return tirx.all(*tests) if tests else None


def broadcast_indices(shape: Sequence[int], logical: Sequence[Expr], output_shape: Sequence[int]) -> list[Expr]:
    """Return the logical indices of the operand of this shape that meets the output at ``logical``.

    Raises:
        ValueError: when the shape does not broadcast to the output's.
    """
    offset = len(output_shape) - len(shape)
    if offset < 0 or any(size not in (1, output_shape[offset + axis]) for axis, size in enumerate(shape)):
        raise ValueError(f"{tuple(shape)} does not broadcast to {tuple(output_shape)}")
    return [tirx.const(0, "int32") if size == 1 else logical[offset + axis] for axis, size in enumerate(shape)]


def load(buffer: Any, tensor: TensorType, logical: Sequence[Expr], output_shape: Sequence[int]) -> Expr:
    """Return the element of an operand that meets the output at these logical indices.

    Args:
        buffer: a TIR buffer or a te tensor of the operand's stored shape.
        tensor: the operand.
        logical: the output's logical indices. At padding of a blocked output the operand is read at its own padding
            when it is blocked likewise; where it is not, the caller guards (``inside``).
        output_shape: the output's logical shape.
    """
    return buffer[tuple(stored_indices(tensor, broadcast_indices(tensor.shape, logical, output_shape)))]
