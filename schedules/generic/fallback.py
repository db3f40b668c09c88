"""A schedule for any kernel that no template makes: legalized operator bodies of one or more blocks.

Every step is tried on its own; what a block does not allow is left out, so that the result is always a valid kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import tvm
import tvm_ffi
from tvm import s_tir, sym, tirx
from tvm.ir import Call
from tvm.ir.expr import TensorLoad
from tvm.s_tir.schedule import ScheduleError

from ...dims import upper
from ...targets.target import Target
from ...tvm_names import dim_of
from ..bindings import dtype_of, is_float

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Schedule = Any
Block = Any
Loop = Any

#: Loops with fewer scalar steps run on one thread: waking the others costs more.
PARALLEL_STEPS = 16384

_FREE_CALLS = ("prim.if_then_else", "prim.likely")
_SCALAR_CALLS = ("prim.if_then_else", "tirx.call_extern", "tirx.call_pure_extern")


def schedule_generic(function: PrimFunc, target: Target) -> PrimFunc:
    """Return a PrimFunc (with its blocks, unscheduled) with loops arranged for the target's vectors and threads.

    Cheap producers are inlined; each block that is left has its outer spatial loops fused and parallel, its reduction
    loops inside them, its contiguous spatial loop innermost and vectorized.
    """
    module = tvm.IRModule({"main": function.with_attr("global_symbol", "main").with_attr("tirx.noalias", True)})
    schedule = s_tir.Schedule(module)
    inline_producers(schedule)
    for name in block_names(schedule):
        schedule = attempt(schedule, partial(_schedule_block, name=name, target=target))
    return schedule.mod["main"]


def attempt(schedule: Schedule, step: Callable[[Schedule], None]) -> Schedule:
    """Return the schedule after a step, or as it was when the step is not possible."""
    trial = schedule.copy()
    try:
        step(trial)
    except (ScheduleError, tvm.error.InternalError, ValueError):
        return schedule
    return trial


def block_names(schedule: Schedule) -> list[str]:
    """Return the names of all blocks, in order."""
    root = schedule.get_sblock("root")
    return [schedule.get(block).name_hint for block in schedule.get_child_blocks(root)]


def inline_producers(schedule: Schedule) -> None:
    """Inline spatial blocks into their consumers: all that are cheap, the others where one spatial block reads them."""
    for name in block_names(schedule):
        block = schedule.get_sblock(name)
        consumers = schedule.get_consumers(block)
        once = len(consumers) == 1 and not reduction_axes(schedule.get(consumers[0]))
        if consumers and (once or _is_cheap(schedule.get(block))):
            try:
                schedule.compute_inline(block)
            except ScheduleError:
                continue


def _is_cheap(block: Block) -> bool:
    """Return whether a block's body is quicker to compute again than to store and load: moves and at most one sum."""
    nodes = _nodes(block.body)
    calls = [each for each in nodes if isinstance(each, Call) and each.op.name not in _FREE_CALLS]
    sums = [each for each in nodes if isinstance(each, (tirx.Add, tirx.Sub, tirx.Mul)) and is_float(dtype_of(each))]
    divisions = [each for each in nodes if isinstance(each, tirx.Div)]
    return not calls and not divisions and len(sums) <= 1


def _nodes(root: Any) -> list[Any]:
    found: list[Any] = []
    tvm_ffi.structural_walk(root, (object, found.append))
    return found


def reduction_axes(block: Block) -> list[int]:
    """Return which of a block's axes are summed over."""
    return [at for at, axis in enumerate(block.iter_vars) if axis.iter_type == tirx.IterVar.CommReduce]


def _schedule_block(schedule: Schedule, name: str, target: Target) -> None:
    block = schedule.get_sblock(name)
    loops = schedule.get_loops(block)
    statement = schedule.get(block)
    if len(loops) != len(statement.iter_vars) or not loops:
        return
    reduction = reduction_axes(statement)
    spatial = [loop for at, loop in enumerate(loops) if at not in reduction]
    reduced = [loops[at] for at in reduction]
    steps = math.prod([_extent(schedule, loop) for loop in loops])
    if not spatial:
        schedule.decompose_reduction(block, reduced[0])
        return
    vector = _vectorizable(schedule, block, spatial[-1], target)
    if vector:
        outer, inner = schedule.split(spatial.pop(), [None, _lanes(statement, target)])
        spatial.append(outer)
        schedule.reorder(*spatial, *reduced, inner)
        schedule.vectorize(inner)
    else:
        schedule.reorder(*spatial, *reduced)
    contiguous = [] if vector or reduced else [spatial.pop()]
    if spatial:
        fused = schedule.fuse(*spatial)
        if steps >= PARALLEL_STEPS and _extent(schedule, fused) > 1:
            schedule.parallel(fused)
    elif contiguous and steps >= PARALLEL_STEPS:
        outer, _ = schedule.split(contiguous[0], [None, PARALLEL_STEPS // 4])
        schedule.parallel(outer)
    if reduced:
        schedule.decompose_reduction(block, reduced[0])


def _extent(schedule: Schedule, loop: Loop) -> int:
    """Return how many steps a loop has at the most."""
    return upper(dim_of(schedule.get(loop).extent))


def _vectorizable(schedule: Schedule, block: Block, loop: Loop, target: Target) -> bool:
    """Return whether the last spatial loop can run in whole vectors: accesses are constant or contiguous along it."""
    statement = schedule.get(block)
    if not isinstance(schedule.get(loop).extent, tirx.IntImm) or _extent(schedule, loop) % _lanes(statement, target):
        return False
    spatial = [axis for axis in statement.iter_vars if axis.iter_type == tirx.IterVar.DataPar]
    nodes = _nodes(statement.body)
    if any(isinstance(each, Call) and each.op.name in _SCALAR_CALLS for each in nodes):
        return False
    accesses = [each.indices for each in nodes if isinstance(each, (TensorLoad, tirx.BufferStore))]
    return all(_contiguous(list(indices), spatial[-1].var) for indices in accesses)


def _contiguous(indices: list[Any], variable: Any) -> bool:
    analyzer = sym.Analyzer()
    moved = [
        tvm_ffi.structural_map(index, (tirx.Var, lambda v: v + 1 if v.same_as(variable) else v)) for index in indices
    ]
    steps = [analyzer.simplify(after - before) for after, before in zip(moved, indices, strict=True)]
    return all(_is(each, 0) for each in steps[:-1]) and (not steps or _is(steps[-1], 0) or _is(steps[-1], 1))


def _lanes(statement: Any, target: Target) -> int:
    return target.lanes(dtype_of(statement.writes[0].source))


def _is(expr: Any, value: int) -> bool:
    return isinstance(expr, tirx.IntImm) and int(expr.value) == value
