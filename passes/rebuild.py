"""Rebuild ``main`` binding by binding."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .expressions import operands_of, with_operands

if TYPE_CHECKING:
    from tvm.relax import BlockBuilder, Expr, Function, VarBinding

#: Replaces the old variables of an expression by the new ones.
Rename = Callable[["Expr"], "Expr"]
#: From a binding to its new value in terms of the new variables; None leaves the binding out.
Transform = Callable[["VarBinding", Rename], "Expr | None"]


def substitute(expr: Expr, known: dict[Expr, Expr]) -> Expr:
    """Return an expression with its variables replaced, inside calls and tuples too."""
    operands = operands_of(expr)
    if not operands:
        return known.get(expr, expr)
    return with_operands(expr, [substitute(operand, known) for operand in operands])


def rebuild(main: Function, builder: BlockBuilder, transform: Transform, finish: Rename | None = None) -> None:
    """Emit ``main`` into a builder: one dataflow block, names kept, each value as the transform gives it.

    ``finish`` turns the function's result, in terms of the new variables, into the new one.
    """
    known: dict[Expr, Expr] = {param: param for param in main.params}

    def rename(expr: Expr) -> Expr:
        return substitute(expr, known)

    with builder.function("main", list(main.params)):
        with builder.dataflow():
            for binding in (binding for block in main.body.blocks for binding in block.bindings):
                value = transform(binding, rename)
                if value is not None:
                    known[binding.var] = builder.emit(value, binding.var.name)
            last = rename(main.body.body)
            output = builder.emit_output(finish(last) if finish else last)
        builder.emit_func_output(output)
