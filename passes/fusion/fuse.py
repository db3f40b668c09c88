"""The fuse phase: operators of ``main`` become calls of group functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...workload import Workload
from .emit import WORKLOAD, GroupEmitter
from .graph import graph_of
from .group import Group, form_groups

if TYPE_CHECKING:
    from tvm.ir import GlobalVar, IRModule
    from tvm.relax import Expr


def workload_of(function: object) -> Workload | None:
    """Return the workload a group function carries, None for any other function."""
    text = function.attrs.get(WORKLOAD) if getattr(function, "attrs", None) else None  # type: ignore[attr-defined]
    return Workload.from_json(str(text)) if text else None


def fuse(module: IRModule) -> IRModule:
    """Put every operator of ``main`` but the aliases into a group function that carries its workload.

    lv = conv2d(x, w); lv1 = add(lv, b); lv2 = relu(lv1)  -->  lv2 = fused_conv2d_add_relu(x, w, b)

    Equal groups share one function. Constants stay in ``main`` and are passed as arguments, all but scalars.
    """
    from tvm import relax

    main = module["main"]
    graph = graph_of(main)
    emitting: dict[int, Group] = {group.members[-1]: group for group in form_groups(graph)}
    hidden = {index for group in emitting.values() for index in group.members} - set(emitting)
    builder = relax.BlockBuilder()
    functions: dict[str, GlobalVar] = {}
    known: dict[Expr, Expr] = {param: param for param in main.params}
    with builder.function("main", list(main.params)):
        with builder.dataflow():
            for index, binding in enumerate(graph.bindings):
                if index in hidden:
                    continue
                value = _renamed(binding.value, known)
                if index in emitting:
                    emitter = GroupEmitter(graph, emitting[index])
                    workload = emitter.workload()
                    key = workload.to_json()
                    if key not in functions:
                        functions[key] = builder.add_func(emitter.function(workload), emitter.name)
                    value = relax.Call(functions[key], [known.get(each, each) for each in emitter.operands])
                known[binding.var] = builder.emit(value, binding.var.name)
            result = builder.emit_output(_renamed(main.body.body, known))
        builder.emit_func_output(result)
    return builder.finalize()


def _renamed(expr: Expr, known: dict[Expr, Expr]) -> Expr:
    from tvm.relax import Call, Tuple, TupleGetItem

    if isinstance(expr, Call):
        return Call(expr.op, [_renamed(arg, known) for arg in expr.args], expr.attrs, expr.ty_args)
    if isinstance(expr, Tuple):
        return Tuple([_renamed(each, known) for each in expr.fields])
    if isinstance(expr, TupleGetItem):
        return TupleGetItem(_renamed(expr.tuple_value, known), expr.index)
    return known.get(expr, expr)
