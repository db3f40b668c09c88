"""The layout phase: how every tensor between kernels is stored.

    x --conv2d--> y --relu--> z   -->   x --layout_transform--> x' --conv2d'--> y' --relu'--> z' --layout_transform--> z

Kernels whose templates want a layout get it; kernels that follow (pointwise, reductions) take what their first operand
already has; everything else reads and writes rows. A tensor is transformed once for each layout that somebody wants,
and constants are packed here, at compile time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ...layout import Layout
from ...tvm_names import constant_value, dtype_of, expressions, is_constant, shape_of, with_type
from ...workload import TensorType, Workload
from ..expressions import constant, variables_of
from ..fusion import workload_of
from ..fusion.emit import WORKLOAD
from ..rebuild import substitute
from .follow import follow
from .repack import emit_pack, emit_unpack

if TYPE_CHECKING:
    from tvm.ir import GlobalVar, IRModule, Type
    from tvm.relax import Expr, Function, Var

#: A workload as its best template wants it stored; None when no template has a wish.
Choose = Callable[[Workload], Workload | None]


def assign_layouts(module: IRModule, choose: Choose) -> IRModule:
    """Store operands as their kernels want them, with the transforms that a walk in order finds necessary."""
    return _Assigner(module, choose).run()


class _Assigner:
    """Walks ``main``; knows in which layout each new variable lies and which copies of it exist."""

    def __init__(self, module: IRModule, choose: Choose) -> None:
        from tvm.relax import BlockBuilder

        self.module, self.choose = module, choose
        self.builder = BlockBuilder()
        self.known: dict[Expr, Expr] = {}
        self.stored: dict[Expr, TensorType] = {}
        self.copies: dict[tuple[Expr, Layout | None], Expr] = {}
        self.functions: dict[str, GlobalVar] = {}

    def run(self) -> IRModule:
        """Return the module with layouts assigned."""
        from tvm.relax import Var

        main = self.module["main"]
        self.known = {param: param for param in main.params}
        with self.builder.function("main", list(main.params)):
            with self.builder.dataflow():
                for binding in (binding for block in main.body.blocks for binding in block.bindings):
                    if isinstance(binding.value, Var):
                        self.known[binding.var] = substitute(binding.value, self.known)
                    else:
                        self.known[binding.var] = self._binding(binding.var, binding.value)
                output = self.builder.emit_output(self._plain(main.body.body))
            self.builder.emit_func_output(output)
        return self.builder.finalize()

    def _binding(self, var: Var, value: Expr) -> Expr:
        from tvm.ir import GlobalVar
        from tvm.relax import Call

        if not isinstance(value, Call) or not isinstance(value.op, GlobalVar):
            return self.builder.emit(self._plain(value), var.name)
        work = workload_of(self.module[value.op])
        assert work is not None
        args = [substitute(arg, self.known) for arg in value.args]
        chosen = self.choose(work) or follow(work, [self._layout(arg) for arg in args]) or work
        wanted = [self._as_layout(arg, each.layout) for arg, each in zip(args, chosen.inputs, strict=True)]
        function = self._function(value.op, work, chosen)
        new = self.builder.emit(with_type(Call(function, wanted), _result_type(chosen, var.ty)), var.name)
        if len(chosen.outputs) == 1 and chosen.output.layout:
            self.stored[new] = chosen.output
        return new

    def _layout(self, expr: Expr) -> Layout | None:
        kept = self.stored.get(expr)
        return kept.layout if kept else None

    def _plain(self, value: Expr) -> Expr:
        """Return an expression over the new variables, each of them row-major."""
        new = {var: self._as_layout(substitute(var, self.known), None) for var in variables_of(value)}
        return substitute(value, new)

    def _as_layout(self, expr: Expr, layout: Layout | None) -> Expr:
        """Return a tensor stored in a layout: itself, a packed constant, or a copy made once."""
        if self._layout(expr) == layout:
            return expr
        key = (expr, layout)
        if key not in self.copies:
            if layout and is_constant(expr):
                self.copies[key] = constant(layout.pack(constant_value(expr)))
            else:
                self.copies[key] = self._transform(expr, layout)
        return self.copies[key]

    def _transform(self, expr: Expr, layout: Layout | None) -> Expr:
        from tvm.relax import Call

        source = self.stored.get(expr) or TensorType(shape_of(expr), dtype_of(expr))
        result = replace(source, layout=layout)
        work = Workload("layout_transform", (source,), (result,), anchor_arity=1)
        copy = self.builder.emit(with_type(Call(self._repacking(work), [expr]), _relax_type(result)))
        if layout:
            self.stored[copy] = result
        return copy

    def _repacking(self, work: Workload) -> GlobalVar:
        """Return the group function that only changes a layout."""
        from tvm import relax

        key = work.to_json()
        if key not in self.functions:
            logical = relax.Var("p0", _relax_type(replace(work.inputs[0], layout=None)))
            builder = relax.BlockBuilder()
            with builder.function("group", [logical], private=True):
                with builder.dataflow():
                    output = builder.emit_output(logical)
                builder.emit_func_output(output)
            self.functions[key] = self._add(builder.finalize()["group"], work, "layout_transform")
        return self.functions[key]

    def _function(self, variable: GlobalVar, work: Workload, chosen: Workload) -> GlobalVar:
        """Return the group function for a workload in its layouts."""
        key = chosen.to_json()
        if key not in self.functions:
            function = self.module[variable]
            if chosen == work:
                self.functions[key] = self.builder.add_func(function, variable.name_hint)
            else:
                self.functions[key] = self._add(function, chosen, variable.name_hint)
        return self.functions[key]

    def _add(self, function: Function, work: Workload, name: str) -> GlobalVar:
        """Add a group function over stored operands: unpack them, compute as before, pack the result."""
        from tvm import relax

        builder = relax.BlockBuilder()
        params = [relax.Var(f"p{at}", _relax_type(each)) for at, each in enumerate(work.inputs)]
        known: dict[Expr, Expr] = {}
        with builder.function("group", params, private=True):
            with builder.dataflow():
                for old, new, operand in zip(function.params, params, work.inputs, strict=True):
                    layout = operand.layout
                    known[old] = emit_unpack(builder, new, layout, operand.shape) if layout else new
                for binding in (binding for block in function.body.blocks for binding in block.bindings):
                    known[binding.var] = builder.emit(substitute(binding.value, known))
                result = substitute(function.body.body, known)
                if work.outputs[0].layout:
                    result = emit_pack(builder, result, work.outputs[0].layout)
                output = builder.emit_output(result)
            builder.emit_func_output(output)
        group = builder.finalize()["group"].with_attr(WORKLOAD, work.to_json())
        return self.builder.add_func(group, name)


def _result_type(work: Workload, logical: Type) -> Type:
    return _relax_type(work.output) if len(work.outputs) == 1 else logical


def _relax_type(operand: TensorType) -> Expr:
    from tvm.relax import TensorType as RelaxTensor

    return RelaxTensor(expressions(operand.stored_shape), operand.dtype)
