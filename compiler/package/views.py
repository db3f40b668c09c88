"""Joins and slices without copies: values that live inside another value.

A kernel that joins tensors end to end in memory need not run: their producers write into the result. A kernel that
takes a contiguous slice need not run: its readers read from the operand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from ...rearrangement import FILLED, Rearrangement
from ...workload import TensorType, Workload
from .calls import COPY, RESULT, Calls, Inside, KernelCall, Value, blocks_of
from .lowering import itemsize


def joins(work: Workload) -> tuple[int, ...] | None:
    """Return at which byte of the output each input lies when the kernel only joins them in memory, else None."""
    moves = _moves(work)
    if moves is None or any(
        len(runs) > 1 or runs[0].places().tolist() != list(range(runs[0].count)) for runs in moves.runs
    ):
        return None
    offsets, place = [], 0
    for operand in work.inputs:
        if not _ends_block(operand, moves.axis) and operand is not work.inputs[-1]:
            return None
        offsets.append(place)
        place += _bytes(operand)
    whole = place == _bytes(work.output)
    return tuple(offsets) if whole and _outermost(work.output, moves.axis) else None


def part(work: Workload) -> int | None:
    """Return from which byte of the input on the output lies when the kernel only takes a slice, else None."""
    moves = _moves(work)
    if moves is None or len(work.inputs) > 1:
        return None
    operand, output = work.inputs[0], work.output
    cut = [axis for axis, size in enumerate(operand.shape) if output.shape[axis] != size]
    plain = all(len(runs) == 1 and runs[0].step == runs[0].every and runs[0].first != FILLED for runs in moves.runs)
    if not plain or len(cut) != 1 or not _outermost(output, cut[0]):
        return None
    axis, first = cut[0], moves.runs[cut[0]][0].first
    block = operand.layout.blocks[axis] if operand.layout else 1
    if first % block or ((first + output.shape[axis]) % block and first + output.shape[axis] < operand.shape[axis]):
        return None
    return first // block * (_bytes(operand) // (-(-operand.shape[axis] // block)))


def _moves(work: Workload) -> Rearrangement | None:
    if not work.is_static:
        return None
    same = len({(each.layout, each.dtype) for each in (*work.inputs, *work.outputs)}) == 1
    return Rearrangement.of(dict(work.attrs)) if work.family == "rearrange" and not work.epilogue and same else None


def _outermost(tensor: TensorType, axis: int) -> bool:
    """Return whether nothing but dimensions of one element lies outside an axis."""
    dims = tensor.layout.dims if tensor.layout else tuple((each, 0) for each in range(len(tensor.shape)))
    outside = tensor.stored_shape[: [each for each, _ in dims].index(axis)]
    return all(size == 1 for size in outside)


def _ends_block(tensor: TensorType, axis: int) -> bool:
    return not tensor.layout or tensor.shape[axis] % tensor.layout.blocks[axis] == 0


def _bytes(tensor: TensorType) -> int:
    return math.prod(tensor.stored_shape) * itemsize(tensor.dtype)


def place_inside(found: Calls, works: Mapping[str, Workload]) -> Calls:
    """Return the calls without the joins and slices that need none.

    A join's operand lives inside the result when it is a result itself, no output of the model, inside nothing yet, and
    made in the same block (elsewhere it may be made less often than the result is overwritten); the other operands are
    copied there. A join of which no operand can is left as it is: its kernel copies with all threads.

    Args:
        works: the workloads of kernels, by function name.
    """
    changed = replace(found, calls=[], inside=dict(found.inside))
    fixed = {*found.outputs, *found.merged, *found.inside}
    makers: dict[Value, int] = {}
    for call, block in zip(found.calls, blocks_of(found.calls), strict=True):
        if not isinstance(call, KernelCall):
            changed.calls.append(call)
            continue
        makers.update((each, block) for each in call.writes if each not in fixed)
        work = works.get(call.function)
        offsets, first = (joins(work), part(work)) if work else (None, None)
        if first is not None and call.writes[0] not in fixed:
            changed.inside[call.writes[0]] = Inside(call.reads[0], first)
            continue
        movable = {each for each in call.reads if makers.get(each) == block}
        if not offsets or not _join(changed, call, offsets, movable):
            changed.calls.append(call)
    return changed


def _join(changed: Calls, call: KernelCall, offsets: tuple[int, ...], movable: set[Value]) -> bool:
    """Place operands inside the result and copy the others; return False when none can be placed."""
    (result,) = call.writes
    copies: list[KernelCall] = []
    placed = dict(changed.inside)
    for operand, offset in zip(call.reads, offsets, strict=True):
        if operand in movable and operand not in placed:
            placed[operand] = Inside(result, offset)
        else:
            piece = Value(RESULT, -1 - len(placed), operand.size)
            placed[piece] = Inside(result, offset)
            copies.append(KernelCall(COPY, (operand,), (piece,)))
    if len(copies) == len(call.reads):
        return False
    changed.inside.update(placed)
    changed.calls.extend(copies)
    return True
