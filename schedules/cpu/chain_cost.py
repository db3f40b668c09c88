"""Whether convolutions are better made by one kernel than each by its own: what that saves, in cycles of a core.

A chain saves what is handed over between kernels: lines that another core wrote, or that have left the second-level
cache, and a launch for each kernel. It costs the rows that two threads both make, weights that all of them read, and
cores without work where there are fewer tasks than cores.
"""

from __future__ import annotations

import math

from ...conv_chain import stages_of
from ...targets.target import Target
from ...workload import Workload
from .chain_geometry import THIRD_LEVEL_BYTES_PER_CYCLE, Chain
from .conv2d import blocked

#: Bytes that a core takes in a cycle from what another core wrote: 5 where cores are far from each other, 100 and more
#: where they share a cache.
_HANDOVER_BYTES_PER_CYCLE = 12.0
#: Cycles to start and to end a kernel on several threads.
_LAUNCH = 1000.0


def saved_cycles(work: Workload, target: Target) -> float:
    """Return how many cycles sooner a chain is done than a kernel for each of its stages; negative where later.

    Args:
        work: the chain, its operands stored as its template wants them.
    """
    chain = Chain.of(stages_of(work, blocked(target.lanes())), target)
    cores = target.facts.cores
    alone = sum(chain.stage_cycles(at) for at in range(len(chain.stages))) / cores
    between = chain.stages[:-1]
    handed = sum(_handover(4 * math.prod(stage.output.stored_shape), target) for stage in between)
    launches = len(between) * _LAUNCH if cores > 1 else 0.0
    return alone + handed + launches - chain.cycles(chain.by_rows)


def _handover(stored: int, target: Target) -> float:
    """Return the cycles of a core to store its share of a tensor and to load its share in the next kernel."""
    cores, limit = target.facts.cores, target.facts.l2_bytes // 2
    share = stored / cores
    other = share * (1 - 1 / cores) / _HANDOVER_BYTES_PER_CYCLE * 2
    return other + (2 * share / THIRD_LEVEL_BYTES_PER_CYCLE if share > limit else 0.0)
