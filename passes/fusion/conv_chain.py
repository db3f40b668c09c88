"""Join convolutions around a depthwise one into one kernel, so that what lies between them never leaves the caches.

    e = fused_conv2d_clip(x, w0); d = fused_conv2d_clip(e, w1); y = fused_conv2d_add(d, w2, x)
    -->  y = fused_conv2d_chain(x, w0, w1, w2, x)

e is depthwise, d pointwise; either may be missing. Of the chains around a depthwise convolution the one that saves most
is formed. The groups before the join are what is left where none saves anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...conv_chain import arranged, chain_of
from ...workload import Workload
from .graph import Graph, graph_of
from .join import Joined, Part, join, part_at, source_of

if TYPE_CHECKING:
    from tvm.ir import IRModule

#: From the workload of a chain to what it saves over a kernel for each stage; 0 or less where it saves nothing.
Saves = Callable[[Workload], float]


def join_conv_chains(module: IRModule, saves: Saves) -> IRModule:
    """Join dense -> depthwise -> pointwise groups, or two of them, each result read by the next alone."""
    graph = graph_of(module["main"])
    found: list[Joined] = []
    taken: set[int] = set()
    for index in range(len(graph.bindings)):
        chains = [chain for chain in _chains_around(module, graph, index) if not taken & {p.index for p in chain}]
        works = [chain_of([part.work for part in chain]) for chain in chains]
        saved = [saves(work) for work in works]
        if saved and max(saved) > 0:
            best = saved.index(max(saved))
            found.append(Joined("fused_conv2d_chain", tuple(chains[best]), works[best], arranged))
            taken |= {part.index for part in chains[best]}
    return join(module, graph, found)


def _chains_around(module: IRModule, graph: Graph, index: int) -> list[list[Part]]:
    """Return the chains around the depthwise convolution at a binding; none where there is no such."""
    middle = part_at(module, graph, index)
    if middle is None or not _is_depthwise(middle.work):
        return []
    before = part_at(module, graph, source_of(graph, middle))
    readers = graph.readers.get(graph.bindings[index].var, [])
    after = part_at(module, graph, readers[0]) if len(readers) == 1 and readers[0] >= 0 else None
    if after and source_of(graph, after) != index:
        after = None
    head = [before] if before and _is_dense(before.work) else []
    tail = [after] if after and _is_pointwise(after.work) else []
    chains = [[*head, middle, *tail], [*head, middle], [middle, *tail]]
    return [chain for at, chain in enumerate(chains) if len(chain) > 1 and chain not in chains[:at]]


def _is_convolution(work: Workload) -> bool:
    float_only = all(each.dtype == "float32" for each in (*work.inputs, *work.outputs))
    return work.family == "conv2d" and work.is_static and float_only and len(work.outputs) == 1


def _is_depthwise(work: Workload) -> bool:
    return _is_convolution(work) and work.attr("groups") == work.inputs[0].shape[1] == work.inputs[1].shape[0] > 1


def _is_dense(work: Workload) -> bool:
    return _is_convolution(work) and work.attr("groups") == 1


def _is_pointwise(work: Workload) -> bool:
    taps = work.inputs[1].shape[2:]
    plain = _is_dense(work) and taps == (1, 1) and not any(work.attr("padding"))
    return plain and tuple(work.attr("strides")) == (1, 1)
