"""Copies of a tensor from one layout to another."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvm import tirx

from ...dims import upper
from ...knobs import Knobs
from ...targets.target import Target
from ...workload import TensorType, Workload
from ..kernel import writing
from ..strided_copy import StridedCopy
from ..strides import Loop, axis_strides, blocks_of
from ..template import NotApplicable, template
from ..vectors import flat_view
from .transpose import copy_lanes

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any


@dataclass(frozen=True)
class _Part:
    """A part of one axis: loops over it, where it begins in source and destination, whether it is padding to fill."""

    loops: tuple[Loop, ...]
    base: tuple[int, int] = (0, 0)
    padding: bool = False


@template("layout_transform", symbolic=True)
def layout_transform(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Copy whole blocks, then the last block as far as there are elements, then the zeros after them.

    An axis is blocked on one side alone, or alike on both.
    """
    source, destination = work.inputs[0], work.output
    parts = [_parts(axis, source, destination) for axis in range(len(source.shape))]
    with writing(work) as kernel:
        views = flat_view(kernel.inputs[0]), flat_view(kernel.outputs[0])
        lanes = copy_lanes(source.dtype, target)
        for choice in itertools.product(*parts):
            loops = [loop for part in choice for loop in part.loops if loop.extent != 1]
            base = _sum([part.base for part in choice])
            padding = any(part.padding for part in choice)
            if padding:
                loops = [Loop(each.extent, (0, each.strides[1]), ()) for each in loops]
            order = sorted(loops, key=lambda each: upper(each.strides[1]), reverse=True)
            finish = _zero if padding else None
            StridedCopy(*views, _joined(order), lanes, finish, base, target.facts.cores).emit()
    assert kernel.function is not None
    return kernel.function


def _zero(value: Expr, indices: list[Expr]) -> Expr:
    return tirx.const(0, value.ty.dtype)


def _sum(offsets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(each[0] for each in offsets), sum(each[1] for each in offsets)


def _joined(loops: list[Loop]) -> list[Loop]:
    """Return loops, in the destination's order, with those joined that both sides step through as through one."""
    joined: list[Loop] = []
    for each in loops:
        before = joined[-1] if joined else None
        if before and before.strides == tuple(step * each.extent for step in each.strides):
            joined[-1] = Loop(before.extent * each.extent, each.strides, ())
        else:
            joined.append(each)
    return joined


def _parts(axis: int, source: TensorType, destination: TensorType) -> list[_Part]:
    """Return the parts of an axis that are copied differently."""
    size = source.shape[axis]
    blocks = blocks_of(source)[axis], blocks_of(destination)[axis]
    block = max(blocks)
    strides = [axis_strides(each) for each in (source, destination)]
    if blocks == (1, 1):
        return [_Part((Loop(size, _pair(strides, axis, False), ()),))]
    if min(blocks) not in (1, block):
        raise NotApplicable
    outer = _pair_of(
        [each[axis, False] * (block if own == 1 else 1) for each, own in zip(strides, blocks, strict=True)]
    )
    inner = _pair_of([each[axis, own > 1] for each, own in zip(strides, blocks, strict=True)])
    if blocks[0] == blocks[1]:
        return [_Part((Loop(-(-size // block), outer, ()), Loop(block, inner, ())))]
    whole, rest = divmod(size, block)
    parts = [_Part((Loop(whole, outer, ()), Loop(block, inner, ())))] if whole else []
    if rest:
        base = whole * outer[0], whole * outer[1]
        parts.append(_Part((Loop(rest, inner, ()),), base))
        if blocks[1] > 1:
            after = base[0], base[1] + rest * inner[1]
            parts.append(_Part((Loop(block - rest, inner, ()),), after, padding=True))
    return parts


def _pair(strides: list[dict[tuple[int, bool], int]], axis: int, inner: bool) -> tuple[int, int]:
    return strides[0][axis, inner], strides[1][axis, inner]


def _pair_of(values: list[int]) -> tuple[int, int]:
    return values[0], values[1]
