"""Pointwise programs as scalar TIR expressions."""

from __future__ import annotations

from ..workload import PointwiseProgram, PointwiseStep
from . import (  # noqa: F401
    scalar_activations,
    scalar_arithmetic,
    scalar_conversions,
    scalar_functions,
    scalar_logic,
)
from .bindings import Bindings, Expr, dtype_of
from .scalar_registry import ALL, SCALAR_OPS

_WIDER = {"float16": "float32"}


def evaluate(program: PointwiseProgram, operands: list[Expr]) -> Expr:
    """Return the program's result on one element.

    Args:
        program: the steps.
        operands: one expression per operand, of the operand's element type.

    Returns:
        An expression that computes every value once (nested ``let``), to be used in a plain or a vectorized loop.

    Raises:
        UserError: for an operator that no scalar operation is registered for.
    """
    bindings = Bindings()
    return bindings.close(evaluate_in(bindings, program, operands))


def evaluate_in(bindings: Bindings, program: PointwiseProgram, operands: list[Expr]) -> Expr:
    """Return the program's result, as ``evaluate``, in terms of values that the bindings hold."""
    if len(operands) != program.operands:
        raise ValueError(f"the program takes {program.operands} operands, not {len(operands)}")
    values = [bindings.bind(each) for each in operands]
    for step in program.steps:
        values.append(bindings.bind(_apply(bindings, step, [values[index] for index in step.args])))
    return values[-1]


def supported(op: str, dtype: str) -> bool:
    """Return whether an operator (without ``relax.``) with a result of this type can be part of a program."""
    row = SCALAR_OPS.get(op)
    return row is not None and dtype in row.dtypes


def readable(dtype: str) -> bool:
    """Return whether a program may have operands of this element type."""
    return dtype in ALL


def cost(program: PointwiseProgram) -> int:
    """Return about how many arithmetic instructions the program takes for one element."""
    return sum(SCALAR_OPS[step.op].cost for step in program.steps)


def _apply(bindings: Bindings, step: PointwiseStep, args: list[Expr]) -> Expr:
    wide = [_widen(bindings, each) for each in args]
    dtype = _WIDER.get(step.dtype, step.dtype)
    result = SCALAR_OPS[step.op].build(bindings, wide, dict(step.attrs), dtype)
    return result if dtype == step.dtype else bindings.bind(result).astype(step.dtype)


def _widen(bindings: Bindings, value: Expr) -> Expr:
    dtype = dtype_of(value)
    return bindings.bind(value.astype(_WIDER[dtype])) if dtype in _WIDER else value
