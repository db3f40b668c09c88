"""Join the three groups of an attention into one, so that its scores never leave the caches.

    s = fused_matmul_add(q, k, mask); p = only_softmax(s); y = fused_matmul_permute_dims(p, v)
    -->  y = fused_attention(q, k, v, mask)

The groups before the join are what is left where no template makes the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ...tvm_names import is_constant, with_type
from ...workload import PointwiseProgram, Workload, attributes
from ..rebuild import Rename, rebuild, substitute
from .emit import WORKLOAD
from .fuse import workload_of
from .graph import Graph, graph_of

if TYPE_CHECKING:
    from tvm.ir import GlobalVar, IRModule
    from tvm.relax import Call, Expr, Function, Var, VarBinding

#: Whether a kernel of this workload can be made, and is better than those of its parts.
Accepts = Callable[[Workload], bool]
_NOTHING = PointwiseProgram(1, ())
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Part:
    """A call of a group: where it stands, its workload, its function."""

    index: int
    call: Call
    work: Workload
    function: Function


def join_attention(module: IRModule, accepts: Accepts) -> IRModule:
    """Join matmul -> softmax -> matmul groups, each result read by the next alone, where the whole is accepted."""
    from tvm import relax
    from tvm.ir import GlobalVar

    main = module["main"]
    graph = graph_of(main)
    joined: dict[int, tuple[list[_Part], Workload]] = {}
    for index in range(len(graph.bindings)):
        parts = _parts_of_attention(module, graph, index)
        work = _workload(parts) if parts else None
        if work and accepts(work):
            joined[index] = (parts, work)
    if not joined:
        return module
    hidden = {part.index for parts, _ in joined.values() for part in parts[:-1]}
    builder = relax.BlockBuilder()
    functions: dict[str, GlobalVar] = {}

    def transform(binding: VarBinding, rename: Rename) -> Expr | None:
        index, value = graph.position[binding.var], binding.value
        if index in hidden:
            return None
        if index in joined:
            parts, work = joined[index]
            key = work.to_json()
            if key not in functions:
                functions[key] = builder.add_func(_function(parts, work), "fused_attention")
            operands = [rename(each) for each in _arranged([part.call.args for part in parts])]
            return with_type(relax.Call(functions[key], operands), binding.var.ty)
        if not (isinstance(value, relax.Call) and isinstance(value.op, GlobalVar)):
            return rename(value)
        if value.op.name_hint not in functions:
            functions[value.op.name_hint] = builder.add_func(module[value.op], value.op.name_hint)
        call = relax.Call(functions[value.op.name_hint], [rename(each) for each in value.args])
        return with_type(call, binding.var.ty)

    rebuild(main, builder, transform)
    return builder.finalize()


def _part(module: IRModule, graph: Graph, index: int) -> _Part | None:
    from tvm.ir import GlobalVar
    from tvm.relax import Call

    value = graph.bindings[index].value
    if not isinstance(value, Call) or not isinstance(value.op, GlobalVar):
        return None
    work = workload_of(module[value.op])
    return _Part(index, value, work, module[value.op]) if work else None


def _parts_of_attention(module: IRModule, graph: Graph, index: int) -> list[_Part]:
    """Return the parts of the attention that ends at a binding: scores, softmax, values; none where it is not one."""
    parts: list[_Part] = []
    place: int | None = index
    for matches in (_is_value_product, _is_softmax, _is_score_product):
        part = _part(module, graph, place) if place is not None else None
        if part is None or not matches(part):
            return []
        parts.insert(0, part)
        source = part.call.args[0]
        place = graph.position.get(source) if len(graph.readers.get(source, ())) == 1 else None
    return parts


def _natural(axes: Sequence[int]) -> bool:
    return tuple(axes) == tuple(range(len(axes)))


def _is_score_product(part: _Part) -> bool:
    """Weights are packed once for all runs, which an attention's keys cannot be: a product with them is none."""
    work = part.work
    return work.family == "matmul" and _natural(work.attr("out_axes")) and not is_constant(part.call.args[1])


def _is_softmax(part: _Part) -> bool:
    return part.work.family == "softmax" and part.work.attr("axis") == len(part.work.output.shape) - 1


def _is_value_product(part: _Part) -> bool:
    work = part.work
    return work.family == "matmul" and _natural(work.attr("a_axes")) and not is_constant(part.call.args[1])


def _arranged(operands: Sequence[Sequence[_T]]) -> list[_T]:
    """Return the attention's operands in order: q, k, v, those of the scores, of the softmax, of the result."""
    (q, k, *of_scores), (_, *of_softmax), (_, v, *of_result) = operands
    return [q, k, v, *of_scores, *of_softmax, *of_result]


def _workload(parts: list[_Part]) -> Workload:
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


def _function(parts: list[_Part], work: Workload) -> Function:
    """Return the function of the whole: the bodies of the parts, one after the other, over their operands by place."""
    from tvm import relax

    builder = relax.BlockBuilder()
    places = [[relax.Var(f"p{at}", param.ty) for at, param in enumerate(part.function.params)] for part in parts]
    params = [relax.Var(f"p{at}", each.ty) for at, each in enumerate(_arranged(places))]
    given: dict[Var, Expr] = dict(zip(_arranged(places), params, strict=True))
    result: Expr | None = None
    with builder.function("group", params, private=True):
        with builder.dataflow():
            for part, place in zip(parts, places, strict=True):
                known: dict[Expr, Expr] = {
                    param: given.get(var, result) for param, var in zip(part.function.params, place, strict=True)
                }
                for binding in (binding for block in part.function.body.blocks for binding in block.bindings):
                    known[binding.var] = builder.emit(substitute(binding.value, known))
                result = substitute(part.function.body.body, known)
            output = builder.emit_output(result)
        builder.emit_func_output(output)
    return builder.finalize()["group"].with_attr(WORKLOAD, work.to_json())
