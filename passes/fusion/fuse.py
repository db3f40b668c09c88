"""The fuse phase: operators of ``main`` become calls of group functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...tvm_names import with_type
from ...workload import Workload
from ..rebuild import Rename, rebuild
from .emit import WORKLOAD, GroupEmitter
from .graph import graph_of
from .group import REGION_LIMIT, Group, form_groups

if TYPE_CHECKING:
    from tvm.ir import GlobalVar, IRModule
    from tvm.relax import Expr, VarBinding


def workload_of(function: object) -> Workload | None:
    """Return the workload a group function carries, None for any other function."""
    text = function.attrs.get(WORKLOAD) if getattr(function, "attrs", None) else None  # type: ignore[attr-defined]
    return Workload.from_json(str(text)) if text else None


def fuse(module: IRModule, limit: int = REGION_LIMIT) -> IRModule:
    """Put every operator of ``main`` but the aliases into a group function that carries its workload.

    lv = conv2d(x, w); lv1 = add(lv, b); lv2 = relu(lv1)  -->  lv2 = fused_conv2d_add_relu(x, w, b)

    ``limit`` bounds how many operators a group holds; at 1 none joins another. Equal groups share one function.
    Constants stay in ``main`` and are passed as arguments, all but scalars.
    """
    from tvm import relax

    main = module["main"]
    graph = graph_of(main)
    emitting: dict[int, Group] = {group.members[-1]: group for group in form_groups(graph, limit)}
    hidden = {index for group in emitting.values() for index in group.members} - set(emitting)
    builder = relax.BlockBuilder()
    functions: dict[str, GlobalVar] = {}

    def transform(binding: VarBinding, rename: Rename) -> Expr | None:
        index = graph.position[binding.var]
        if index in hidden:
            return None
        if index not in emitting:
            return rename(binding.value)
        emitter = GroupEmitter(graph, emitting[index])
        workload = emitter.workload()
        key = workload.to_json()
        if key not in functions:
            functions[key] = builder.add_func(emitter.function(workload), emitter.name)
        call = relax.Call(functions[key], [rename(each) for each in emitter.operands])
        # TVM would infer the type from the operands, which do not always tell the result's symbols.
        return with_type(call, binding.var.ty)

    rebuild(main, builder, transform)
    return builder.finalize()
