"""The schedule phase: every group function becomes a scheduled kernel, every call of one a ``call_tir``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import UserError
from ..passes.expressions import operator_name
from ..passes.fusion import workload_of
from ..passes.rebuild import Rename, rebuild
from ..schedules.cost import flops, operand_bytes
from ..schedules.template import build_kernel
from ..targets.target import Target
from ..workload import Workload

if TYPE_CHECKING:
    from tvm.ir import GlobalVar, IRModule, Type
    from tvm.relax import Expr, Function, VarBinding
    from tvm.tirx import PrimFunc


def schedule(module: IRModule, target: Target, origins: Mapping[str, str] | None = None) -> IRModule:
    """Make a kernel for every group.

    lv = fused_conv2d_relu(x, w)  -->  lv = call_tir(fused_conv2d_relu, (x, w), out_ty)

    The most specific template that takes the workload makes the kernel; what no template takes is legalized from the
    group's body and given the generic schedule.

    Args:
        origins: the model's node for each variable's name, to name the node that has no kernel.

    Raises:
        UserError: an operator that neither a template nor TVM lowers to one kernel.
    """
    from tvm import relax
    from tvm.ir import GlobalVar

    builder = relax.BlockBuilder()
    kernels: dict[str, GlobalVar] = {}
    for variable, function in module.functions_items():
        work = workload_of(function)
        if work is not None:
            try:
                kernel = kernel_of(function, work, target)
            except UserError as error:
                raise UserError(f"{_origin(module, variable, origins or {})}{error}") from error
            kernels[variable.name_hint] = builder.add_func(kernel, variable.name_hint)

    def transform(binding: VarBinding, rename: Rename) -> Expr:
        value = rename(binding.value)
        if isinstance(value, relax.Call) and isinstance(value.op, GlobalVar):
            return relax.call_tir(kernels[value.op.name_hint], list(value.args), _out_types(binding.var.ty))
        return value

    rebuild(module["main"], builder, transform)
    return builder.finalize()


def _origin(module: IRModule, function: GlobalVar, origins: Mapping[str, str]) -> str:
    """Return the node whose group function this is, as the head of a sentence; empty when it is not known."""
    from tvm import relax

    for binding in (binding for block in module["main"].body.blocks for binding in block.bindings):
        called = isinstance(binding.value, relax.Call) and binding.value.op.same_as(function)
        if called and binding.var.name in origins:
            return f"node {origins[binding.var.name]}: "
    return ""


def _out_types(result: Type) -> list[Type] | Type:
    from tvm.relax import TupleType

    return list(result.fields) if isinstance(result, TupleType) else result


def kernel_of(function: Function, work: Workload, target: Target) -> PrimFunc:
    """Return the scheduled kernel for a group function, with its family and cost as attributes."""
    from ..schedules.generic.fallback import schedule_generic

    kernel = build_kernel(work, target)
    if kernel is None:
        kernel = schedule_generic(legalize(function), target).with_attr("tilewright.template", "generic")
    kernel = kernel.without_attr("global_symbol")
    family = dict(work.attrs).get("operator", work.family)
    kernel = kernel.with_attr("tilewright.family", str(family))
    return kernel.with_attr("tilewright.flops", float(flops(work))).with_attr("tilewright.bytes", operand_bytes(work))


#: What TVM's lowering leaves of operators that it lowers to loops.
_LOWERED = frozenset({"call_tir"})


def _operators(function: Function) -> list[str]:
    from tvm import relax

    calls = [binding.value for block in function.body.blocks for binding in block.bindings]
    return [operator_name(call) for call in calls if isinstance(call, relax.Call)]


def legalize(function: Function) -> PrimFunc:
    """Return one unscheduled PrimFunc for a group function: TVM's own lowering of its body, fused into one kernel.

    Raises UserError for an operator that TVM does not lower to loops (a sort calls its runtime library).
    """
    from tvm import relax

    builder = relax.BlockBuilder()
    group = builder.add_func(function.with_attr("Primitive", 1), "group")
    params = [relax.Var(param.name, param.ty) for param in function.params]
    with builder.function("main", params):
        with builder.dataflow():
            result = builder.emit_output(relax.Call(group, params))
        builder.emit_func_output(result)
    module = relax.transform.LegalizeOps()(builder.finalize())
    whole = [name for name in _operators(module["group"]) if name not in _LOWERED]
    if whole:
        raise UserError(f"the operator {', '.join(whole)} has no kernel for these operands; express it by others")
    module = relax.transform.DeadCodeElimination()(relax.transform.FuseTIR()(module))
    (kernel,) = [each for name, each in module.functions_items() if name.name_hint != "main"]
    return kernel


def check(module: IRModule) -> None:
    """Raise AssertionError unless ``main`` holds only calls of scheduled kernels, reshapes and tuples."""
    from tvm.relax import Call
    from tvm.tirx import PrimFunc

    for binding in (binding for block in module["main"].body.blocks for binding in block.bindings):
        value = binding.value
        if not isinstance(value, Call) or value.op.name == "relax.reshape":
            continue
        assert value.op.name == "relax.call_tir", f"{binding.var.name}: {value.op.name} is not scheduled"
        kernel = module[value.args[0]]
        assert isinstance(kernel, PrimFunc), f"{binding.var.name} calls something else than a kernel"
        for attribute in ("family", "template", "flops", "bytes"):
            assert f"tilewright.{attribute}" in kernel.attrs, f"{value.args[0].name_hint} has no {attribute}"
