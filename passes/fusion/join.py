"""Join groups into one: the calls of several become the call of a group whose body is theirs, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...tvm_names import with_type
from ...workload import Workload
from ..rebuild import Rename, rebuild, substitute
from .emit import WORKLOAD
from .fuse import workload_of
from .graph import Graph

if TYPE_CHECKING:
    from tvm.ir import GlobalVar, IRModule
    from tvm.relax import Call, Expr, Function, Var, VarBinding

#: From the operands of the parts to those of the whole, without what one part hands to the next.
Arrange = Callable[[Sequence[Sequence[Any]]], list[Any]]


@dataclass(frozen=True)
class Part:
    """A call of a group: where it stands, its workload, its function."""

    index: int
    call: Call
    work: Workload
    function: Function


@dataclass(frozen=True)
class Joined:
    """Groups to join: each reads the result of the one before, which nothing else reads.

    Attributes:
        name: what the function of the whole is called.
        parts: the groups in order.
        work: the workload of the whole.
        arrange: how the operands of the whole follow from those of the parts.
    """

    name: str
    parts: tuple[Part, ...]
    work: Workload
    arrange: Arrange


def part_at(module: IRModule, graph: Graph, index: int | None) -> Part | None:
    """Return the call of a group that stands at a binding; None where there is none."""
    from tvm.ir import GlobalVar
    from tvm.relax import Call

    value = graph.bindings[index].value if index is not None else None
    if index is None or not isinstance(value, Call) or not isinstance(value.op, GlobalVar):
        return None
    work = workload_of(module[value.op])
    return Part(index, value, work, module[value.op]) if work else None


def source_of(graph: Graph, part: Part) -> int | None:
    """Return the binding that makes a part's first operand, if the part reads it once and nothing else reads it."""
    source, *others = part.call.args
    alone = len(graph.readers.get(source, ())) == 1 and not any(source.same_as(each) for each in others)
    return graph.position.get(source) if alone else None


def join(module: IRModule, graph: Graph, found: Sequence[Joined]) -> IRModule:
    """Return the module with the parts of each of ``found`` as one group where the last of them stands."""
    from tvm import relax
    from tvm.ir import GlobalVar

    if not found:
        return module
    joined = {each.parts[-1].index: each for each in found}
    hidden = {part.index for each in found for part in each.parts[:-1]}
    builder = relax.BlockBuilder()
    functions: dict[str, GlobalVar] = {}

    def transform(binding: VarBinding, rename: Rename) -> Expr | None:
        index, value = graph.position[binding.var], binding.value
        if index in hidden:
            return None
        if index in joined:
            whole = joined[index]
            key = whole.work.to_json()
            if key not in functions:
                functions[key] = builder.add_func(_function(whole), whole.name)
            operands = [rename(each) for each in whole.arrange([part.call.args for part in whole.parts])]
            return with_type(relax.Call(functions[key], operands), binding.var.ty)
        if not (isinstance(value, relax.Call) and isinstance(value.op, GlobalVar)):
            return rename(value)
        if value.op.name_hint not in functions:
            functions[value.op.name_hint] = builder.add_func(module[value.op], value.op.name_hint)
        call = relax.Call(functions[value.op.name_hint], [rename(each) for each in value.args])
        return with_type(call, binding.var.ty)

    rebuild(module["main"], builder, transform)
    return builder.finalize()


def _function(whole: Joined) -> Function:
    """Return the function of the whole: the bodies of the parts, one after the other, over their operands by place."""
    from tvm import relax

    builder = relax.BlockBuilder()
    places = [[relax.Var(f"p{at}", each.ty) for at, each in enumerate(part.function.params)] for part in whole.parts]
    params = [relax.Var(f"p{at}", each.ty) for at, each in enumerate(whole.arrange(places))]
    given: dict[Var, Expr] = dict(zip(whole.arrange(places), params, strict=True))
    result: Expr | None = None
    with builder.function("group", params, private=True):
        with builder.dataflow():
            for part, place in zip(whole.parts, places, strict=True):
                known: dict[Expr, Expr] = {
                    param: given.get(var, result) for param, var in zip(part.function.params, place, strict=True)
                }
                for binding in (binding for block in part.function.body.blocks for binding in block.bindings):
                    known[binding.var] = builder.emit(substitute(binding.value, known))
                result = substitute(part.function.body.body, known)
            output = builder.emit_output(result)
        builder.emit_func_output(output)
    return builder.finalize()["group"].with_attr(WORKLOAD, whole.work.to_json())
