"""A conversion between any two element types, in terms of containers and machine types."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from ...element_types import CONTAINED, small_float
from ...tvm_names import constant_value, dtype_of, is_constant
from ..conversion import decode, encode
from ..expressions import constant

if TYPE_CHECKING:
    from tvm.relax import Expr

_Emit = Callable[["Expr"], "Expr"]


def converted(data: Expr, source: str, target: str, saturate: bool, round_mode: str, emit: _Emit) -> Expr:
    """Return a tensor, stored as its type demands, in another element type, stored as that demands.

    Floats become integers by dropping their fractions; integers that do not fit keep their low bits; everything but
    zero is true.

    Args:
        source, target: the element types; those of the stored tensors may be their containers.
        emit: binds an expression.
    """
    if source == target:
        return data
    if small_float(source) is not None:
        data = emit(decode(data, source))
    elif source in ("int4", "int2"):
        data = _signed(data, CONTAINED[source].bits, emit)
    small = small_float(target)
    if small is not None:
        return encode(_as_float(data, emit), target, saturate and small.bits == 8, round_mode)
    if target == "bool":
        return relax.op.not_equal(data, relax.const(0, dtype_of(data)))
    if target not in CONTAINED:
        return _cast(data, target)
    return _low_bits(data, CONTAINED[target].bits, emit)


def _as_float(data: Expr, emit: _Emit) -> Expr:
    """Return numbers as float32 where that holds all of them, else as float64."""
    dtype = dtype_of(data)
    if dtype in ("float32", "float64"):
        return data
    wide = "float64" if np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize > 2 else "float32"
    return _bound(_cast(data, wide), emit)


def _signed(bits: Expr, width: int, emit: _Emit) -> Expr:
    """Return the integers whose low bits these are."""
    spare = relax.const(8 - width, "int8")
    high = emit(relax.op.left_shift(emit(relax.op.astype(bits, "int8")), spare))
    return emit(relax.op.right_shift(high, spare))


def _low_bits(data: Expr, width: int, emit: _Emit) -> Expr:
    """Return the low bits of integers, or of what is left of floats without their fractions."""
    if "float" in dtype_of(data):
        data = _bound(_cast(data, "int32"), emit)
    narrow = _bound(_cast(data, "uint8"), emit)
    return relax.op.bitwise_and(narrow, relax.const((1 << width) - 1, "uint8"))


def _cast(data: Expr, dtype: str) -> Expr:
    if dtype_of(data) == dtype:
        return data
    if is_constant(data):
        return constant(constant_value(data).astype(dtype))
    return relax.op.astype(data, dtype)


def _bound(expr: Expr, emit: _Emit) -> Expr:
    return emit(expr) if isinstance(expr, relax.Call) else expr
