"""Reading Relax expressions: operator names, attributes as plain integers, scalars, constants."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import Op

from ..tvm_names import dtype_of, shape_of

if TYPE_CHECKING:
    from tvm.relax import Call, Expr, Var

#: Names that :func:`operator_name` gives to bindings that call no operator.
TUPLE, TUPLE_GET_ITEM = "tuple", "tuple_get_item"

_POINTWISE_UNARY = """abs negative sign ceil floor round trunc sqrt rsqrt square exp log sin cos tan asin acos atan sinh
cosh tanh asinh acosh atanh sigmoid erf isnan isinf isfinite logical_not bitwise_not astype clip
nn.relu nn.leakyrelu nn.gelu nn.gelu_tanh nn.silu nn.softplus nn.selu tilewright.decode tilewright.encode"""
_POINTWISE_BINARY = """add subtract multiply divide floor_divide mod floor_mod power maximum minimum
equal not_equal less less_equal greater greater_equal
logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor left_shift right_shift"""

#: Operators that compute each element of the result from the elements at its place alone, after broadcasting.
POINTWISE = frozenset((_POINTWISE_UNARY + " " + _POINTWISE_BINARY + " where").split())
#: Pointwise operators of two operands whose order does not matter.
COMMUTATIVE = frozenset(("add", "multiply", "maximum", "minimum"))


def operator_name(expr: Expr) -> str:
    """Return the operator's name without ``relax.``, ``"tuple"``, ``"tuple_get_item"``, or ``""`` for anything else."""
    if isinstance(expr, relax.Call):
        return str(expr.op.name).removeprefix("relax.") if isinstance(expr.op, Op) else ""
    if isinstance(expr, relax.Tuple):
        return TUPLE
    return TUPLE_GET_ITEM if isinstance(expr, relax.TupleGetItem) else ""


def operands_of(expr: Expr) -> list[Expr]:
    """Return the expressions that a call, a tuple or a field access reads directly."""
    if isinstance(expr, relax.Call):
        return list(expr.args)
    if isinstance(expr, relax.Tuple):
        return list(expr.fields)
    return [expr.tuple_value] if isinstance(expr, relax.TupleGetItem) else []


def variables_of(expr: Expr) -> list[Var]:
    """Return the variables an expression reads, in order, repeated as often as they stand in it."""
    if isinstance(expr, relax.Var):
        return [expr]
    return [var for operand in operands_of(expr) for var in variables_of(operand)]


def with_operands(expr: Expr, operands: list[Expr]) -> Expr:
    """Return a call, a tuple or a field access that reads other operands."""
    if isinstance(expr, relax.Call):
        return relax.Call(expr.op, operands, expr.attrs, expr.ty_args)
    if isinstance(expr, relax.Tuple):
        return relax.Tuple(operands)
    return relax.TupleGetItem(operands[0], expr.index)


def is_tensor(expr: Expr) -> bool:
    """Return whether an expression is one tensor (not a tuple, a shape or a number)."""
    return isinstance(getattr(expr, "ty", None), relax.TensorType)


def is_float(expr: Expr) -> bool:
    """Return whether a tensor's elements are floating point numbers."""
    return "float" in dtype_of(expr)


def ints(values: Iterable[object]) -> tuple[int, ...]:
    """Return an attribute that holds several integers as a tuple."""
    return tuple(int(value) for value in values)  # type: ignore[call-overload]


def axes_of(call: Call) -> tuple[int, ...]:
    """Return the axes of a reduction or normalisation, non-negative and sorted; none named means all."""
    rank = len(shape_of(call.args[0]))
    axes = getattr(call.attrs, "axes" if operator_name(call).startswith("nn.") else "axis")
    return tuple(range(rank)) if axes is None else tuple(sorted(axis % rank for axis in ints(axes)))


def permutation_of(call: Call) -> tuple[int, ...]:
    """Return the axes of a ``permute_dims``, non-negative."""
    rank = len(shape_of(call.args[0]))
    return tuple(reversed(range(rank))) if call.attrs.axes is None else tuple(a % rank for a in ints(call.attrs.axes))


def constant(array: NDArray[Any]) -> Expr:
    """Return a Relax constant that holds a copy of an array."""
    # Without its element type spelled out, relax.const narrows 64 bits to 32.
    return relax.const(np.ascontiguousarray(array).reshape(array.shape), str(array.dtype))
