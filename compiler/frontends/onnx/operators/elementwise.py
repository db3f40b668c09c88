"""Arithmetic, comparison and logic on elements, with numpy's broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx.helper import tensor_dtype_to_np_dtype
from tvm import relax

from .....element_types import CONTAINED
from .....errors import UserError
from .....passes.tensor_functions import call
from .....tvm_names import constant_value, dtype_of, is_constant, shape_of
from ..node import Node, positive_axis, rank_of
from ..node import cast as cast_to
from ..registry import RowFunction, operator

if TYPE_CHECKING:
    from tvm.relax import Expr


def _unary(make: Callable[[Expr], Expr]) -> RowFunction:
    def convert(node: Node, data: Expr) -> Expr:
        return make(data)

    return convert


def _binary(make: Callable[[Expr, Expr], Expr]) -> RowFunction:
    def convert(node: Node, a: Expr, b: Expr) -> Expr:
        return make(a, _aligned(node, a, b))

    return convert


def _variadic(make: Callable[[Expr, Expr], Expr]) -> RowFunction:
    def convert(node: Node, *operands: Expr) -> Expr:
        return reduce(lambda a, b: node.emit(make(a, b)), operands)

    return convert


#: Operators that are one Relax operator of the same meaning in every opset.
_UNARY: dict[str, Callable[[Any], Any]] = {
    "Abs": relax.op.abs,
    "Acos": relax.op.acos,
    "Acosh": relax.op.acosh,
    "Asin": relax.op.asin,
    "Asinh": relax.op.asinh,
    "Atan": relax.op.atan,
    "Atanh": relax.op.atanh,
    "BitwiseNot": relax.op.bitwise_not,
    "Ceil": relax.op.ceil,
    "Cos": relax.op.cos,
    "Cosh": relax.op.cosh,
    "Erf": relax.op.erf,
    "Exp": relax.op.exp,
    "Floor": relax.op.floor,
    "Identity": lambda data: data,
    "IsNaN": relax.op.isnan,
    "Log": relax.op.log,
    "Neg": relax.op.negative,
    "Not": relax.op.logical_not,
    "Sign": relax.op.sign,
    "Sin": relax.op.sin,
    "Sinh": relax.op.sinh,
    "Sqrt": relax.op.sqrt,
    "Tan": relax.op.tan,
}
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": relax.op.add,
    "And": relax.op.logical_and,
    "BitwiseAnd": relax.op.bitwise_and,
    "BitwiseOr": relax.op.bitwise_or,
    "BitwiseXor": relax.op.bitwise_xor,
    "Greater": relax.op.greater,
    "GreaterOrEqual": relax.op.greater_equal,
    "Less": relax.op.less,
    "LessOrEqual": relax.op.less_equal,
    "Mul": relax.op.multiply,
    "Or": relax.op.logical_or,
    "Sub": relax.op.subtract,
    "Xor": relax.op.logical_xor,
}
_VARIADIC: dict[str, Callable[[Any, Any], Any]] = {
    "Max": relax.op.maximum,
    "Min": relax.op.minimum,
    "Sum": relax.op.add,
}
for _name, _make in _UNARY.items():
    operator(_name)(_unary(_make))
for _name, _make_two in _BINARY.items():
    operator(_name)(_binary(_make_two))
for _name, _make_two in _VARIADIC.items():
    operator(_name)(_variadic(_make_two))


@operator("Equal")
def equal(node: Node, a: Expr, b: Expr) -> Expr:
    """Whether elements are equal; truth values are when they do not differ."""
    b = _aligned(node, a, b)
    if dtype_of(a) != "bool":
        return relax.op.equal(a, b)
    return relax.op.logical_not(node.emit(relax.op.logical_xor(a, b)))


@operator("Div")
def div(node: Node, a: Expr, b: Expr) -> Expr:
    """Quotient; of integers it is rounded towards zero."""
    return relax.op.divide(a, _aligned(node, a, b))


@operator("Mod")
def mod(node: Node, a: Expr, b: Expr) -> Expr:
    """Remainder with the sign of the divisor, or of the dividend with ``fmod``."""
    return (relax.op.mod if node.get_int("fmod", 0) else relax.op.floor_mod)(a, b)


@operator("Pow")
def power(node: Node, a: Expr, b: Expr) -> Expr:
    """Power in the base's element type; the exponent may have another since opset 12.

    Integers are computed in double precision.
    """
    b = _aligned(node, a, b)
    dtype = dtype_of(a)
    if dtype.startswith("float"):
        return relax.op.power(a, node.cast(b, dtype))
    wide = node.emit(relax.op.power(node.cast(a, "float64"), node.cast(b, "float64")))
    return relax.op.astype(wide, dtype)


@operator("Mean")
def mean(node: Node, *operands: Expr) -> Expr:
    """Mean of the operands, element by element."""
    total = reduce(lambda a, b: node.emit(relax.op.add(a, b)), operands)
    return relax.op.divide(total, node.const(len(operands), total))


@operator("Reciprocal")
def reciprocal(node: Node, data: Expr) -> Expr:
    """One divided by each element."""
    return relax.op.divide(node.const(1, data), data)


@operator("Round")
def round_half_even(node: Node, data: Expr) -> Expr:
    """The nearest integer, the even one of two that are as near."""
    low = node.emit(relax.op.floor(data))
    rest = node.emit(relax.op.subtract(data, low))
    half = node.emit(relax.op.floor(node.emit(relax.op.multiply(low, node.const(0.5, data)))))
    odd = node.emit(relax.op.subtract(low, node.emit(relax.op.multiply(half, node.const(2, data)))))
    tie = node.emit(relax.op.equal(rest, node.const(0.5, data)))
    above = node.emit(relax.op.greater(rest, node.const(0.5, data)))
    step = node.emit(relax.op.where(tie, odd, node.cast(above, dtype_of(data))))
    return relax.op.add(low, step)


@operator("IsInf")
def is_inf(node: Node, data: Expr) -> Expr:
    """Whether an element is infinite; ``detect_positive`` and ``detect_negative`` choose the signs."""
    found = node.emit(relax.op.isinf(data))
    if not node.get_int("detect_positive", 1):
        found = node.emit(relax.op.logical_and(found, node.emit(relax.op.less(data, node.const(0, data)))))
    if not node.get_int("detect_negative", 1):
        found = node.emit(relax.op.logical_and(found, node.emit(relax.op.greater(data, node.const(0, data)))))
    return found


@operator("BitShift")
def bit_shift(node: Node, a: Expr, b: Expr) -> Expr:
    """Bits moved left or right as ``direction`` says; by the width or more, nothing of an unsigned number is left.

    Signed numbers (opset 28) keep their sign to the right, and a negative count is one past the width.
    """
    left = node.get_string("direction", "LEFT") == "LEFT"
    dtype = np.dtype(dtype_of(a))
    last = node.const(dtype.itemsize * 8 - 1, b)
    outside = node.emit(relax.op.greater(b, last))
    if dtype.kind == "i":
        outside = node.emit(relax.op.logical_or(outside, node.emit(relax.op.less(b, node.const(0, b)))))
    kept = node.emit(relax.op.where(outside, last, b))
    shifted = node.emit((relax.op.left_shift if left else relax.op.right_shift)(a, kept))
    if dtype.kind == "i" and not left:
        return shifted
    return relax.op.where(outside, node.const(0, a), shifted)


@operator("BitCast", since=26)
def bit_cast(node: Node, data: Expr) -> Expr:
    """The same bits in another element type of the same width."""
    dtype = np.dtype(tensor_dtype_to_np_dtype(node.get_int("to", 1)))
    if dtype.itemsize != np.dtype(dtype_of(data)).itemsize or dtype.kind not in "iufb":
        raise UserError(f"the bits of {dtype_of(data)} cannot be taken as {dtype.name}")
    return data if dtype.name == dtype_of(data) else call("bitcast", [data], dtype=dtype.name)


@operator("Where")
def where(node: Node, condition: Expr, a: Expr, b: Expr) -> Expr:
    """Elements of a where the condition holds, else of b."""
    return relax.op.where(condition, a, b)


@operator("Cast")
def cast(node: Node, data: Expr) -> Expr:
    """Another element type; to bool it is "not zero"; ``saturate`` and ``round_mode`` are those of 8-bit floats."""
    return _cast(node, data, np.dtype(tensor_dtype_to_np_dtype(node.get_int("to", 1))).name)


@operator("CastLike")
def cast_like(node: Node, data: Expr, like: Expr) -> Expr:
    """The element type of another tensor."""
    return _cast(node, data, dtype_of(like))


@operator("Clip")
def clip_attributes(node: Node, data: Expr) -> Expr:
    """Elements kept between the attributes ``min`` and ``max`` (before opset 11)."""
    low = node.const(node.get_float("min", 0.0), data) if node.has("min") else None
    high = node.const(node.get_float("max", 0.0), data) if node.has("max") else None
    return _clip(node, data, low, high)


@operator("Clip", since=11)
def clip(node: Node, data: Expr, low: Expr | None = None, high: Expr | None = None) -> Expr:
    """Elements kept between two scalars, either of which may be left out; the upper one goes before the lower."""
    return _clip(node, data, low, high)


def _clip(node: Node, data: Expr, low: Expr | None, high: Expr | None) -> Expr:
    if low is not None and high is not None and is_constant(low) and is_constant(high):
        bottom, top = (constant_value(each).reshape(-1)[0].item() for each in (low, high))
        if dtype_of(data).startswith("float") and bottom <= top:
            return relax.op.clip(data, bottom, top)
    if low is not None:
        data = node.emit(relax.op.maximum(data, node.reshape(low, ())))
    return data if high is None else node.emit(relax.op.minimum(data, node.reshape(high, ())))


def _cast(node: Node, data: Expr, dtype: str) -> Expr:
    if dtype_of(data) == dtype:
        return data
    if dtype == "object" or dtype.startswith("str"):
        raise UserError(f"a cast to {dtype} is not supported")
    if dtype == "bool" and dtype_of(data) not in CONTAINED and not is_constant(data):
        return relax.op.not_equal(data, node.const(0, data))
    return cast_to(data, dtype, bool(node.get_int("saturate", 1)), node.get_string("round_mode", "up"))


def _aligned(node: Node, a: Expr, b: Expr) -> Expr:
    """Return b shaped for numpy's broadcasting where the node asks for that of opsets before 7."""
    if node.opset >= 7 or not node.get_int("broadcast", 0) or not node.has("axis"):
        return b
    axis = positive_axis(node.get_int("axis", 0), rank_of(a))
    trailing = rank_of(a) - axis - rank_of(b)
    return node.reshape(b, shape_of(b) + (1,) * max(trailing, 0))
