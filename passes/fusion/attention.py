"""Join the three groups of an attention into one, so that its scores never leave the caches.

    s = fused_matmul_add(q, k, mask); p = only_softmax(s); y = fused_matmul_permute_dims(p, v)
    -->  y = fused_attention(q, k, v, mask)

The groups before the join are what is left where no template makes the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ...tvm_names import is_constant
from ...workload import PointwiseProgram, Workload, attributes
from .graph import Graph, graph_of
from .join import Joined, Part, join, part_at, source_of

if TYPE_CHECKING:
    from tvm.ir import IRModule

#: Whether a kernel of this workload can be made, and is better than those of its parts.
Accepts = Callable[[Workload], bool]
_NOTHING = PointwiseProgram(1, ())
_T = TypeVar("_T")


def join_attention(module: IRModule, accepts: Accepts) -> IRModule:
    """Join matmul -> softmax -> matmul groups, each result read by the next alone, where the whole is accepted."""
    graph = graph_of(module["main"])
    found: list[Joined] = []
    for index in range(len(graph.bindings)):
        parts = _parts_of_attention(module, graph, index)
        work = _workload(parts) if parts else None
        if work and accepts(work):
            found.append(Joined("fused_attention", tuple(parts), work, _arranged))
    return join(module, graph, found)


def _parts_of_attention(module: IRModule, graph: Graph, index: int) -> list[Part]:
    """Return the parts of the attention that ends at a binding: scores, softmax, values; none where it is not one."""
    parts: list[Part] = []
    place: int | None = index
    for matches in (_is_value_product, _is_softmax, _is_score_product):
        part = part_at(module, graph, place)
        if part is None or not matches(part):
            return []
        parts.insert(0, part)
        place = source_of(graph, part)
    return parts


def _natural(axes: Sequence[int]) -> bool:
    return tuple(axes) == tuple(range(len(axes)))


def _is_score_product(part: Part) -> bool:
    """Weights are packed once for all runs, which an attention's keys cannot be: a product with them is none."""
    work = part.work
    return work.family == "matmul" and _natural(work.attr("out_axes")) and not is_constant(part.call.args[1])


def _is_softmax(part: Part) -> bool:
    return part.work.family == "softmax" and part.work.attr("axis") == len(part.work.output.shape) - 1


def _is_value_product(part: Part) -> bool:
    work = part.work
    return work.family == "matmul" and _natural(work.attr("a_axes")) and not is_constant(part.call.args[1])


def _arranged(operands: Sequence[Sequence[_T]]) -> list[_T]:
    """Return the attention's operands in order: q, k, v, those of the scores, of the softmax, of the result."""
    (q, k, *of_scores), (_, *of_softmax), (_, v, *of_result) = operands
    return [q, k, v, *of_scores, *of_softmax, *of_result]


def _workload(parts: list[Part]) -> Workload:
    scores, softmax, values = (part.work for part in parts)
    described = {
        "q_axes": scores.attr("a_axes"),
        "k_axes": scores.attr("b_axes"),
        "v_axes": values.attr("b_axes"),
        "out_axes": values.attr("out_axes"),
    }
    inner = (scores.epilogue or _NOTHING, softmax.epilogue or _NOTHING)
    return Workload(
        family="attention",
        inputs=tuple(_arranged([part.work.inputs for part in parts])),
        outputs=values.outputs,
        attrs=attributes(described),
        anchor_arity=1 + sum(program.operands for program in inner),
        epilogue=values.epilogue,
        inner=inner,
    )
