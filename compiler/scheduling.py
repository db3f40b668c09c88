"""The schedule phase: every group function becomes a scheduled kernel, every call of one a ``call_tir``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import UserError
from ..passes.control_flow import CONTROL_FLOW
from ..passes.expressions import operands_of, operator_name
from ..passes.fusion import workload_of
from ..passes.fusion.emit import WORKLOAD
from ..passes.fusion.group import ALIASES
from ..passes.rebuild import Rename, rebuild, substitute
from ..schedules.cost import flops, operand_bytes
from ..schedules.in_place import in_place_operands
from ..schedules.symbols import with_symbols
from ..schedules.template import build_kernel
from ..targets.target import Target
from ..tvm_names import is_constant
from ..workload import Workload

if TYPE_CHECKING:
    from tvm.ir import GlobalVar, IRModule, Type
    from tvm.relax import Expr, Function, VarBinding
    from tvm.tirx import PrimFunc


def schedule(
    module: IRModule, target: Target, origins: Mapping[str, str] | None = None, accuracy: str = "exact"
) -> IRModule:
    """Make a kernel for every group.

    lv = fused_conv2d_relu(x, w)  -->  lv = call_tir(fused_conv2d_relu, (x, w), out_ty)

    The most specific template that takes the workload makes the kernel; what no template takes is legalized from the
    group's body and given the generic schedule.

    Args:
        origins: the model's node for each variable's name, to name the node that has no kernel.
        accuracy: which algorithms may be chosen.

    Raises:
        UserError: an operator that neither a template nor TVM lowers to one kernel.
    """
    from tvm import relax
    from tvm.ir import GlobalVar

    builder = relax.BlockBuilder()
    kernels: dict[str, GlobalVar] = {}
    constants: dict[str, list[Expr]] = {}
    for variable, function in module.functions_items():
        work = workload_of(function)
        if work is not None:
            try:
                kernel, constants[variable.name_hint] = kernel_of(function, work, target, accuracy)
            except UserError as error:
                raise UserError(f"{_origin(module, variable, origins or {})}{error}") from error
            kernels[variable.name_hint] = builder.add_func(kernel, variable.name_hint)

    def transform(binding: VarBinding, rename: Rename) -> Expr:
        value = rename(binding.value)
        if isinstance(value, relax.Call) and isinstance(value.op, GlobalVar):
            name = value.op.name_hint
            return relax.call_tir(kernels[name], [*value.args, *constants[name]], _out_types(binding.var.ty))
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


def kernel_of(
    function: Function, work: Workload, target: Target, accuracy: str = "exact"
) -> tuple[PrimFunc, list[Expr]]:
    """Return the scheduled kernel for a group function, with its family and cost as attributes.

    Its operands are the function's, then the constants that are returned with it.
    """
    from ..schedules.generic.fallback import schedule_generic
    from ..schedules.gpu.fallback import schedule_gpu

    kernel = build_kernel(work, target, accuracy=accuracy)
    constants: list[Expr] = []
    if target.is_gpu and not work.is_static:
        raise UserError(
            "its sizes are known at run time only, which devices do not do: give --input-shapes without ranges"
        )
    if kernel is None and target.is_gpu and work.family in _STEP_BY_STEP:
        raise UserError(f"{work.family} has no kernel for '{target.name}': name a CPU with --target")
    if kernel is None:
        plain, constants = legalize(function)
        made = schedule_gpu(plain, target) if target.is_gpu else schedule_generic(plain, target)
        kernel = made.with_attr("tilewright.template", "generic")
    kernel = kernel.without_attr("global_symbol")
    family = dict(work.attrs).get("operator", work.family)
    kernel = kernel.with_attr("tilewright.family", str(family)).with_attr(WORKLOAD, work.to_json())
    kernel = kernel.with_attr("tilewright.flops", float(flops(work))).with_attr("tilewright.bytes", operand_bytes(work))
    kernel = kernel.with_attr("tilewright.in_place", list(in_place_operands(kernel, work)))
    return kernel, constants


#: Families whose steps wait for one another, or follow pointers: a device would run them in one thread.
_STEP_BY_STEP = frozenset({"recurrent", "tree_ensemble"})

#: What TVM's lowering leaves of operators that it lowers to loops.
_LOWERED = frozenset({"call_tir"})


def _operators(function: Function) -> list[str]:
    from tvm import relax

    calls = [binding.value for block in function.body.blocks for binding in block.bindings]
    return [operator_name(call) for call in calls if isinstance(call, relax.Call)]


def legalize(function: Function) -> tuple[PrimFunc, list[Expr]]:
    """Return one unscheduled PrimFunc for a group function: TVM's own lowering of its body, fused into one kernel.

    Its operands are the function's, then the constants of the body, which are returned with it.

    Raises UserError for an operator that TVM does not lower to loops (a sort calls its runtime library).
    """
    from tvm import IRModule, relax

    from ..passes.precision.narrow_storage import NarrowStorage, has_narrow
    from ..passes.take import lower_take

    whole = IRModule({"main": function})
    if has_narrow(whole):
        # TVM's own lowering of conversions to bfloat16 makes infinities of some NaN: here they are integer arithmetic.
        function = NarrowStorage()(whole)["main"]
    primitive = function.without_attr("global_symbol").with_attr("Primitive", 1)
    module = relax.transform.LegalizeOps({"relax.take": lower_take})(IRModule({"group": primitive}))
    group, constants = _constants_as_operands(module["group"])
    left = [name for name in _operators(group) if name not in _LOWERED]
    if left:
        raise UserError(f"the operator {', '.join(left)} has no kernel for these operands; express it by others")
    builder = relax.BlockBuilder(module)
    variable = builder.add_func(group, "whole_group")
    params = [relax.Var(param.name, param.ty) for param in group.params]
    with builder.function("main", params):
        with builder.dataflow():
            result = builder.emit_output(relax.Call(variable, params))
        builder.emit_func_output(result)
    module = builder.finalize()
    del module["group"]
    module = relax.transform.DeadCodeElimination()(relax.transform.FuseTIR()(module))
    (kernel,) = [each for name, each in module.functions_items() if name.name_hint != "main"]
    return with_symbols(kernel), constants


def _leaves(expr: Expr) -> list[Expr]:
    parts = operands_of(expr)
    return [leaf for part in parts for leaf in _leaves(part)] if parts else [expr]


def _constants_as_operands(function: Function) -> tuple[Function, list[Expr]]:
    """Return a lowered group function with its constants as further parameters: a primitive function holds none."""
    from tvm import relax

    builder = relax.BlockBuilder()
    bindings = [binding for block in function.body.blocks for binding in block.bindings]
    operands = [each for binding in bindings for each in _leaves(binding.value)]
    constants = list(dict.fromkeys(each for each in operands if is_constant(each)))
    params = [relax.Var(each.name, each.ty) for each in function.params]
    params += [relax.Var(f"constant{at}", each.ty) for at, each in enumerate(constants)]
    known: dict[Expr, Expr] = dict(zip([*function.params, *constants], params, strict=True))
    with builder.function("group", params, attrs=dict(function.attrs), private=True):
        with builder.dataflow():
            for binding in bindings:
                known[binding.var] = builder.emit(substitute(binding.value, known))
            result = builder.emit_output(substitute(function.body.body, known))
        builder.emit_func_output(result)
    return builder.finalize()["group"], constants


def check(module: IRModule) -> None:
    """Raise AssertionError unless ``main`` holds only calls of scheduled kernels, reshapes, tuples, control flow."""
    from tvm.relax import Call
    from tvm.tirx import PrimFunc

    for binding in (binding for block in module["main"].body.blocks for binding in block.bindings):
        value = binding.value
        if not isinstance(value, Call) or value.op.name in ALIASES | CONTROL_FLOW:
            continue
        assert value.op.name == "relax.call_tir", f"{binding.var.name}: {value.op.name} is not scheduled"
        kernel = module[value.args[0]]
        assert isinstance(kernel, PrimFunc), f"{binding.var.name} calls something else than a kernel"
        for attribute in ("family", "template", "flops", "bytes"):
            assert f"tilewright.{attribute}" in kernel.attrs, f"{value.args[0].name_hint} has no {attribute}"
