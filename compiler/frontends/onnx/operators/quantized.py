"""Operators on integers: convolutions and products that sum in 32 bits, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....passes.quantization import dequantize, quantize
from .....tvm_names import dtype_of, shape_of
from ..node import Node, constant, rank_of
from ..registry import operator
from .convolution import conv
from .quantization import require_scales

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("MatMulInteger")
def matmul_integer(node: Node, a: Expr, b: Expr, a_zero: Expr | None = None, b_zero: Expr | None = None) -> Expr:
    """``(a - a_zero) @ (b - b_zero)`` in int32; a zero point may be one for each row of a, or column of b."""
    return integer_product(node, a, a_zero, b, b_zero)


@operator("ConvInteger")
def conv_integer(node: Node, data: Expr, weight: Expr, zero: Expr | None = None, w_zero: Expr | None = None) -> Expr:
    """Convolution in int32 of data and weight less their zero points; padding stands for zero."""
    return conv(node, centred(node, data, zero), centred(node, weight, w_zero, axis=0))


@operator("QLinearMatMul")
@operator("QLinearMatMul", domain="com.microsoft")
def qlinear_matmul(
    node: Node,
    a: Expr,
    a_scale: Expr,
    a_zero: Expr,
    b: Expr,
    b_scale: Expr,
    b_zero: Expr,
    scale: Expr,
    zero: Expr,
) -> Expr:
    """The integer product, scaled by ``a_scale * b_scale / scale`` in single precision and rounded to its grid."""
    total = integer_product(node, a, a_zero, b, b_zero)
    factor = _factor(node, _by_rows(node, a_scale, total), b_scale, scale)
    return requantized(node, total, factor, zero)


@operator("QLinearConv")
@operator("QLinearConv", domain="com.microsoft")
def qlinear_conv(
    node: Node,
    data: Expr,
    data_scale: Expr,
    data_zero: Expr,
    weight: Expr,
    w_scale: Expr,
    w_zero: Expr,
    scale: Expr,
    zero: Expr,
    bias: Expr | None = None,
) -> Expr:
    """The integer convolution with its int32 bias, scaled in single precision and rounded to its grid."""
    total = node.emit(conv(node, centred(node, data, data_zero), centred(node, weight, w_zero, axis=0), bias))
    if np.prod(shape_of(w_scale), dtype=int) > 1:
        w_scale = node.reshape(w_scale, (shape_of(weight)[0],) + (1,) * (rank_of(data) - 2))
    return requantized(node, total, _factor(node, data_scale, w_scale, scale), zero)


def centred(node: Node, data: Expr, zero: Expr | None, axis: int | None = None) -> Expr:
    """Return integers less their zero point, as int32.

    Args:
        axis: where zero points are several, the axis along which they lie.
    """
    wide = node.cast(data, "int32")
    if zero is None:
        return wide
    zero = node.cast(zero, "int32")
    if rank_of(zero) == 1 and axis is not None:
        count = shape_of(zero)[0]
        zero = node.reshape(zero, (count,) + (1,) * (rank_of(data) - 1 - axis) if count > 1 else ())
    return node.emit(relax.op.subtract(wide, zero))


def integer_product(node: Node, a: Expr, a_zero: Expr | None, b: Expr, b_zero: Expr | None) -> Expr:
    """Return the int32 product of two tensors of integers less their zero points."""
    if a_zero is not None and rank_of(a) >= 2:
        a_zero = _by_rows(node, a_zero, a)
    return node.emit(relax.op.matmul(centred(node, a, a_zero), centred(node, b, b_zero)))


def requantized(node: Node, total: Expr, factor: Expr, zero: Expr) -> Expr:
    """Return int32 sums times a factor, rounded half to even, plus a zero point, in that one's element type."""
    numbers = node.emit(relax.op.multiply(node.cast(total, "float32"), factor))
    return quantize(numbers, constant(np.ones((), np.float32)), node.reshape(zero, ()), dtype_of(zero))


def dequantized(node: Node, data: Expr, scale: Expr, zero: Expr | None) -> Expr:
    """Return what a tensor with one scale stands for."""
    zero = constant(np.zeros(shape_of(scale), np.dtype(dtype_of(data)))) if zero is None else zero
    return node.emit(dequantize(data, scale, zero, dtype_of(scale)))


def _by_rows(node: Node, operand: Expr, like: Expr) -> Expr:
    """Return a vector of more than one element as a column, where it goes with the rows of a matrix."""
    count = int(np.prod(shape_of(operand), dtype=int))
    if rank_of(operand) != 1 or count == 1 or rank_of(like) < 2:
        return operand
    return node.reshape(operand, (count, 1))


def _factor(node: Node, a: Expr, b: Expr, scale: Expr) -> Expr:
    require_scales(node, scale)
    a, b, scale = (
        node.reshape(each, ()) if np.prod(shape_of(each), dtype=int) == 1 else each
        for each in (node.cast(each, "float32") for each in (a, b, scale))
    )
    return node.emit(relax.op.divide(node.emit(relax.op.multiply(a, b)), scale))
