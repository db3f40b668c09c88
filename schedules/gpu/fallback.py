"""A schedule for graphics processors of any kernel that no template makes: a thread for each element of a block.

Every step is tried on its own; what a block does not allow is left out. A block that cannot be spread over threads,
such as a sort, runs in one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import tvm
from tvm import s_tir
from tvm.s_tir.schedule import ScheduleError

from ...targets.target import Target
from ..generic.fallback import attempt, block_names, inline_producers, reduction_axes

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Schedule = Any
Block = Any
Loop = Any
Step = Callable[..., None]


def schedule_gpu(function: PrimFunc, target: Target) -> PrimFunc:
    """Return a PrimFunc (with its blocks, unscheduled) in which every block runs in threads.

    Cheap producers are inlined; a sum stays in a register until it is complete, and the thread that made it does what
    follows element by element.
    """
    module = tvm.IRModule({"main": function.with_attr("global_symbol", "main").with_attr("tirx.noalias", True)})
    schedule = s_tir.Schedule(module)
    inline_producers(schedule)
    for name in block_names(schedule):
        if name in block_names(schedule):  # it may have gone into the block before
            schedule = _first(schedule, (_reduce, _spread, _alone), name, threads_of(target))
    return schedule.mod["main"]


def threads_of(target: Target) -> int:
    """Return how many threads a block of independent work has."""
    most = int(str(dict(target.tvm).get("max_num_threads", 256)))
    return min(most, 64 if target.kind == "opencl" else 256)


def _first(schedule: Schedule, steps: Sequence[Step], name: str, threads: int) -> Schedule:
    """Return the schedule after the first step that is possible."""
    for step in steps:
        after = attempt(schedule, partial(step, name=name, threads=threads))
        if after is not schedule:
            return after
    return schedule


def _reduce(schedule: Schedule, name: str, threads: int) -> None:
    """A thread for each sum."""
    block = schedule.get_sblock(name)
    if not reduction_axes(schedule.get(block)):
        raise ValueError(f"{name} sums nothing")
    consumers = schedule.get_consumers(block)
    stored = schedule.cache_write(block, 0, "local")
    while len(consumers) == 1:
        following = schedule.get_consumers(consumers[0])
        try:
            schedule.reverse_compute_inline(consumers[0])
        except ScheduleError:
            break
        consumers = following
    inner, summed = _bind(schedule, block, threads)
    schedule.reverse_compute_at(stored, inner)
    schedule.decompose_reduction(block, summed[0])


def _spread(schedule: Schedule, name: str, threads: int) -> None:
    """A thread for each element; sums in the device's memory."""
    block = schedule.get_sblock(name)
    _, summed = _bind(schedule, block, threads)
    if summed:
        schedule.decompose_reduction(block, summed[0])


def _alone(schedule: Schedule, name: str, threads: int) -> None:
    """One thread for all of it."""
    block = schedule.get_sblock(name)
    loop = schedule.add_unit_loop(block) if not schedule.get_loops(block) else schedule.get_loops(block)[0]
    outer, _ = schedule.split(loop, [1, None])
    schedule.bind(outer, "threadIdx.x")


def _bind(schedule: Schedule, block: Block, threads: int) -> tuple[Loop, list[Loop]]:
    """Spread the spatial loops of a block; return the loop of the threads and the loops inside it."""
    loops = schedule.get_loops(block)
    reduction = reduction_axes(schedule.get(block))
    if loops and len(loops) != len(schedule.get(block).iter_vars):
        raise ValueError("the block's loops are no longer its own")
    spatial = [loop for at, loop in enumerate(loops) if at not in reduction]
    summed = [loops[at] for at in reduction]
    spatial = spatial or [schedule.add_unit_loop(summed[0] if summed else block)]
    schedule.reorder(*spatial, *summed)
    fused = schedule.fuse(*spatial)
    extent = int(schedule.get(fused).extent.value)
    outer, inner = schedule.split(fused, [None, min(threads, extent)])
    schedule.bind(outer, "blockIdx.x")
    schedule.bind(inner, "threadIdx.x")
    return inner, summed
