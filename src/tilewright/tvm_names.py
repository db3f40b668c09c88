"""The only module that touches TVM names which move between releases (pinned: apache-tvm 0.27.0.post1)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dim_text import parse
from .dims import dim_expression, operation
from .shapes import is_static


def is_constant(expr: Any) -> bool:
    """Return whether a Relax expression is a tensor constant."""
    from tvm.ir import GenericConst

    return isinstance(expr, GenericConst)


def constant_value(expr: Any) -> NDArray[np.generic]:
    """Return the array of a Relax constant."""
    array: NDArray[np.generic] = expr.value.numpy()
    return array


def shape_of(expr: Any) -> tuple[int, ...]:
    """Return the shape of a Relax tensor expression: numbers, and a ``Dim`` for what only a run knows."""
    return dims_of(expr.ty)


def dims_of(ty: Any) -> tuple[int, ...]:
    """Return the dimensions of a Relax tensor type."""
    return tuple(map(dim_of, ty.shape.values))


def dim_of(expr: Any) -> int:
    """Return what a TIR expression over symbols' variables stands for. Raises ValueError for any other expression."""
    from tvm import tirx
    from tvm.ir import Call

    if isinstance(expr, tirx.IntImm):
        return int(expr.value)
    if isinstance(expr, tirx.Var):
        return parse(str(expr.name))
    if isinstance(expr, tirx.Cast):
        return dim_of(expr.value)
    if isinstance(expr, Call) and str(expr.op.name).endswith("if_then_else"):
        condition, then, otherwise = expr.args
        return dim_of(then if _holds(condition) else otherwise)
    if isinstance(expr, tirx.Select):
        return dim_of(expr.true_value if _holds(expr.condition) else expr.false_value)
    row = _arithmetic().get(type(expr))
    if row is None:
        raise ValueError(f"{expr} is not a dimension")
    return operation(row, dim_of(expr.a), dim_of(expr.b))


def _holds(condition: Any) -> bool:
    from tvm import tirx

    tests: dict[type[Any], Callable[[int, int], bool]] = {
        tirx.LT: operator.lt,
        tirx.LE: operator.le,
        tirx.GT: operator.gt,
        tirx.GE: operator.ge,
        tirx.EQ: operator.eq,
        tirx.NE: operator.ne,
    }
    if isinstance(condition, tirx.Not):
        return not _holds(condition.a)
    if isinstance(condition, tirx.IntImm):
        return bool(condition.value)
    return tests[type(condition)](dim_of(condition.a), dim_of(condition.b))


def with_plain_dims(expr: Any) -> Any:
    """Return a call whose type, where it holds symbols, has each dimension in its simplest form; others as they are."""
    from tvm import relax

    def plain(ty: Any) -> Any:
        if isinstance(ty, relax.TupleType):
            return relax.TupleType([plain(each) for each in ty.fields])
        if not isinstance(ty, relax.TensorType) or ty.shape is None:
            return ty
        return relax.TensorType(expressions(dims_of(ty)), ty.dtype)

    def symbolic(ty: Any) -> bool:
        if isinstance(ty, relax.TupleType):
            return any(map(symbolic, ty.fields))
        return isinstance(ty, relax.TensorType) and ty.shape is not None and not is_static(dims_of(ty))

    if not isinstance(expr, relax.Call) or not symbolic(expr.ty):
        return expr
    # A type is set only once: on a copy.
    return with_type(relax.Call(expr.op, expr.args, expr.attrs, expr.ty_args), plain(expr.ty))


def same_type(one: Any, other: Any) -> bool:
    """Return whether two types are equal, dimensions compared by what they stand for."""
    from tvm import relax
    from tvm_ffi import structural_equal

    if isinstance(one, relax.TupleType) and isinstance(other, relax.TupleType):
        return len(one.fields) == len(other.fields) and all(map(same_type, one.fields, other.fields))
    if not (isinstance(one, relax.TensorType) and isinstance(other, relax.TensorType)):
        return bool(structural_equal(one, other))
    if one.shape is None or other.shape is None:
        return bool(structural_equal(one, other))
    return dims_of(one) == dims_of(other) and str(one.dtype) == str(other.dtype)


def expressions(shape: Iterable[int]) -> list[Any]:
    """Return the dimensions of a shape as TVM takes them."""
    return [dim_expression(dim) for dim in shape]


def free_symbols(holder: Any) -> list[Any]:
    """Return the symbols' variables that an expression, type or PrimFunc holds, by name."""
    import tvm_ffi
    from tvm import tirx

    found: dict[str, Any] = {}

    def visit(node: Any) -> None:
        if isinstance(node, tirx.Var) and str(node.name).endswith("]"):
            found[str(node.name)] = node

    tvm_ffi.structural_walk(holder, (object, visit))
    return [found[name] for name in sorted(found)]


@cache
def _arithmetic() -> dict[type[Any], str]:
    from tvm import tirx

    return {
        tirx.Add: "+",
        tirx.Sub: "-",
        tirx.Mul: "*",
        tirx.FloorDiv: "//",
        tirx.Div: "//",
        tirx.FloorMod: "%",
        tirx.Mod: "%",
        tirx.Min: "min",
        tirx.Max: "max",
    }


def dtype_of(expr: Any) -> str:
    """Return the element type of a Relax tensor expression, in numpy's spelling."""
    return str(expr.ty.dtype)


def with_type(expr: Any, ty: Any) -> Any:
    """Return a Relax expression built by hand after setting its type, which its constructor does not infer."""
    from tvm.relax.expr import _update_type

    _update_type(expr, ty)
    return expr


def register_operator(name: str, description: str, infer_type: Any) -> None:
    """Register a pure Relax operator of our own.

    Args:
        infer_type: from a call and the builder to the type of its result.
    """
    from tvm.ir import op

    op._ffi_api.RegisterOp(name, description)
    op.register_op_attr(name, "FInferType", infer_type)
    op.register_op_attr(name, "FPurity", True)


@cache
def let_rounding_be_vectorized() -> None:
    """Tell TVM that ``nearbyint`` works on vectors: it has not been told, and takes such loops lane by lane."""
    from tvm.ir import register_op_attr

    register_op_attr("tirx.nearbyint", "TVectorizable", True)
