"""Turn groups into private functions with workloads, and ``main`` into calls of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tvm_names import dims_of, dtype_of, shape_of
from ...workload import PointwiseProgram, PointwiseStep, TensorType, Workload, attributes
from ..expressions import is_tensor, operator_name
from ..rebuild import substitute
from .graph import Graph
from .group import Group
from .pointwise import is_pointwise, scalar_constant, step_of
from .round_trips import without_round_trips

if TYPE_CHECKING:
    from tvm.relax import BlockBuilder, Call, Expr, Function, Var

#: The attribute under which a group function carries its workload as JSON.
WORKLOAD = "tilewright.workload"


def tensor_type(expr: Expr) -> TensorType:
    """Return the logical type of a tensor expression, stored row-major."""
    return TensorType(shape_of(expr), dtype_of(expr))


class GroupEmitter:
    """Builds one group's function: its operands in kernel order, its workload, its body.

    Attributes:
        operands: the outside expressions the group reads: the anchor's, then the epilogue's.
    """

    def __init__(self, graph: Graph, group: Group) -> None:
        self.graph = graph
        self.group = group
        self.calls = [graph.calls[index] for index in group.members]
        self.result = graph.bindings[group.members[-1]].var
        self.operands: list[Expr] = list(group.anchor.operands) if group.anchor and not group.opaque else []
        self.arity = len(self.operands)

    @property
    def name(self) -> str:
        """A readable name: the operators it computes."""
        names = [operator_name(call).split(".")[-1] for call in self.calls]
        return re.sub(r"\W", "_", "_".join(["fused" if len(names) > 1 else "only", *names[:6]]))[:64]

    def workload(self) -> Workload:
        """Return the workload; fills ``operands`` with what the epilogue reads."""
        if self.group.opaque:
            return self._opaque()
        epilogue = self._program()
        anchor = self.group.anchor
        return Workload(
            family=anchor.family if anchor else "pointwise",
            inputs=tuple(tensor_type(each) for each in self.operands),
            outputs=_output_types(self.result),
            attrs=anchor.attrs if anchor else (),
            anchor_arity=self.arity,
            epilogue=epilogue if epilogue.steps else None,
        )

    def _opaque(self) -> Workload:
        (call,) = self.calls
        tensors = tensors_in(call)
        self.operands = list(dict.fromkeys(tensors))
        inputs = tuple(tensor_type(each) for each in self.operands)
        others = [str(arg) for arg in call.args if not tensors_in_arg(arg)]
        places = [self.operands.index(each) for each in tensors]
        described = {"operator": operator_name(call), "arguments": f"{call.attrs} {others} {places}"}
        return Workload("opaque", inputs, _output_types(self.result), attributes(described), len(inputs))

    def _program(self) -> PointwiseProgram:
        """Return the pointwise members as a program; appends what they read from outside to ``operands``."""
        views = self.group.anchor.views if self.group.anchor else ()
        members = [index for index in self.group.members if self.graph.bindings[index].var not in views]
        variables = {self.graph.bindings[index].var: self.graph.calls[index] for index in members}
        pointwise = {var: call for var, call in variables.items() if is_pointwise(call)}
        read = dict.fromkeys(arg for call in pointwise.values() for arg in tensors_in(call))
        outside = [arg for arg in read if arg not in variables]
        scalars = {arg: value for arg in outside if (value := scalar_constant(arg)) is not None}
        self.operands += [arg for arg in outside if arg not in scalars]
        given = [self.graph.bindings[self.group.seed].var] if self.group.anchor else []
        given += self.operands[self.arity :]
        index: dict[Expr, int] = {each: at for at, each in enumerate(given)}
        steps: list[PointwiseStep] = []
        for scalar, value in scalars.items():
            index[scalar] = len(given) + len(steps)
            steps.append(PointwiseStep("const", (), dtype_of(scalar), attributes({"value": value})))
        for var, call in pointwise.items():
            index[var] = len(given) + len(steps)
            steps.append(step_of(call, tuple(index[arg] for arg in tensors_in(call))))
        return without_round_trips(PointwiseProgram(len(given), tuple(steps)))

    def function(self, workload: Workload) -> Function:
        """Return the group's function: plain Relax operators over its operands.

        Operands of the anchor go by their place, not by what they are: equal groups share the function, and where this
        one reads a tensor twice another may read two.
        """
        from tvm import relax

        builder = relax.BlockBuilder()
        params = [relax.Var(f"p{index}", each.ty) for index, each in enumerate(self.operands)]
        known: dict[Expr, Expr] = dict(zip(self.operands[self.arity :], params[self.arity :], strict=True))
        views = {self.graph.position[view] for view in self.group.anchor.views} if self.group.anchor else set()
        with builder.function("group", params, private=True):
            with builder.dataflow():
                for index, call in zip(self.group.members, self.calls, strict=True):
                    if index in views:
                        continue
                    args = [substitute(arg, known) for arg in call.args]
                    if self.group.anchor and index == self.group.seed:
                        args = self._anchor_arguments(builder, call, iter(params[: self.arity]))
                    var = builder.emit(relax.Call(call.op, args, call.attrs, call.ty_args))
                    known[self.graph.bindings[index].var] = var
                result = builder.emit_output(var)
            builder.emit_func_output(result)
        return builder.finalize()["group"].with_attr(WORKLOAD, workload.to_json())

    def _anchor_arguments(self, builder: BlockBuilder, call: Call, places: Iterator[Var]) -> list[Expr]:
        """Return what the anchor, or a view it reads through, reads: parameters in order, and calls of its views."""
        from tvm import relax

        assert self.group.anchor
        args: list[Expr] = []
        for arg in call.args:
            if arg in self.group.anchor.views:
                view = self.graph.calls[self.graph.position[arg]]
                read = self._anchor_arguments(builder, view, places)
                args.append(builder.emit(relax.Call(view.op, read, view.attrs, view.ty_args)))
            elif isinstance(arg, relax.Tuple) and tensors_in_arg(arg):
                args.append(relax.Tuple([next(places) for _ in arg.fields]))
            else:
                # What is no operand stays in the body: axes, and indices known now.
                args.append(next(places) if arg in self.operands[: self.arity] else arg)
        return args


def tensors_in(call: Call) -> list[Expr]:
    """Return the tensors a call reads, those inside tuples too, in order."""
    return [each for arg in call.args for each in tensors_in_arg(arg)]


def tensors_in_arg(arg: Expr) -> list[Expr]:
    """Return the tensors one argument holds."""
    from tvm.relax import Tuple

    parts = list(arg.fields) if isinstance(arg, Tuple) else [arg]
    return [each for each in parts if is_tensor(each)]


def _output_types(result: Var) -> tuple[TensorType, ...]:
    from tvm.relax import TupleType

    types = result.ty.fields if isinstance(result.ty, TupleType) else [result.ty]
    return tuple(TensorType(dims_of(each), str(each.dtype)) for each in types)
