"""Quantized operators of com.microsoft: numbers from a grid, an operator, and back to a grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import relax

from .....errors import UserError
from .....passes.quantization import quantize
from .....tvm_names import dtype_of, shape_of
from ..attention import softmax
from ..node import Node, constant, positive_axis, rank_of
from ..registry import operator
from .microsoft_linear import DOMAIN
from .pooling import average_pool
from .quantization import dynamic_quantize_linear
from .quantized import dequantized, integer_product, requantized

if TYPE_CHECKING:
    from tvm.relax import Expr


def _binary(make: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def convert(
        node: Node,
        a: Expr,
        a_scale: Expr,
        a_zero: Expr | None,
        b: Expr,
        b_scale: Expr,
        b_zero: Expr | None,
        scale: Expr,
        zero: Expr | None = None,
    ) -> Expr:
        left, right = dequantized(node, a, a_scale, a_zero), dequantized(node, b, b_scale, b_zero)
        return _quantized(node, node.emit(make(left, right)), scale, zero, dtype_of(a))

    return convert


def _unary(compute: Callable[[Node, Any], Any]) -> Callable[..., Any]:
    def convert(
        node: Node, data: Expr, scale: Expr, zero: Expr | None, out_scale: Expr, out_zero: Expr | None = None
    ) -> Expr:
        channels_last = rank_of(data) > 2 and node.get_int("channels_last", 0)
        numbers = dequantized(node, data, scale, zero)
        if channels_last:
            numbers = node.transpose(numbers, (0, rank_of(data) - 1, *range(1, rank_of(data) - 1)))
        made = node.emit(compute(node, numbers))
        if channels_last:
            made = node.transpose(made, (0, *range(2, rank_of(data)), 1))
        return _quantized(node, made, out_scale, out_zero, dtype_of(data))

    return convert


def _global_average(node: Node, data: Expr) -> Expr:
    return relax.op.mean(data, list(range(2, rank_of(data))), keepdims=True)


def _softmax(node: Node, data: Expr) -> Expr:
    axis = positive_axis(node.get_int("axis", -1), rank_of(data))
    if node.get_int("opset", 13) < 13 and axis != rank_of(data) - 1:
        raise UserError("QLinearSoftmax of opset 12 and below over several axes is not supported")
    return softmax(node, data, axis)


_BINARY: dict[str, Callable[[Any, Any], Any]] = {"QLinearAdd": relax.op.add, "QLinearMul": relax.op.multiply}
_UNARY: dict[str, Callable[[Node, Any], Any]] = {
    "QLinearSigmoid": lambda node, data: relax.op.sigmoid(data),
    "QLinearLeakyRelu": lambda node, data: relax.op.nn.leakyrelu(data, node.get_float("alpha", 0.01)),
    "QLinearAveragePool": average_pool,
    "QLinearGlobalAveragePool": _global_average,
    "QLinearSoftmax": _softmax,
}
for _name, _make in _BINARY.items():
    operator(_name, domain=DOMAIN)(_binary(_make))
for _name, _compute in _UNARY.items():
    operator(_name, domain=DOMAIN)(_unary(_compute))


@operator("QLinearConcat", domain=DOMAIN)
def qlinear_concat(node: Node, scale: Expr, zero: Expr, *inputs: Expr) -> Expr:
    """Tensors of several grids, each followed by its scale and its zero point, joined on one."""
    parts = [dequantized(node, *inputs[at : at + 3]) for at in range(0, len(inputs), 3)]
    axis = positive_axis(node.get_int("axis", 0), rank_of(parts[0]))
    return _quantized(node, node.emit(relax.op.concat(parts, axis)), scale, zero, dtype_of(inputs[0]))


@operator("QLinearWhere", domain=DOMAIN)
def qlinear_where(
    node: Node,
    condition: Expr,
    a: Expr,
    a_scale: Expr,
    a_zero: Expr,
    b: Expr,
    b_scale: Expr,
    b_zero: Expr,
    scale: Expr,
    zero: Expr,
) -> Expr:
    """Elements of two grids as a condition chooses them, on a third."""
    left, right = dequantized(node, a, a_scale, a_zero), dequantized(node, b, b_scale, b_zero)
    return _quantized(node, node.emit(relax.op.where(condition, left, right)), scale, zero, dtype_of(a))


@operator("QLinearReduceMean", domain=DOMAIN)
def qlinear_reduce_mean(
    node: Node, data: Expr, scale: Expr, zero: Expr | None, out_scale: Expr, out_zero: Expr | None = None
) -> Expr:
    """The mean over axes of what a tensor stands for, on another grid."""
    axes = [positive_axis(axis, rank_of(data)) for axis in node.get_ints("axes", ())] or list(range(rank_of(data)))
    mean = relax.op.mean(dequantized(node, data, scale, zero), axes, bool(node.get_int("keepdims", 1)))
    return _quantized(node, node.emit(mean), out_scale, out_zero, dtype_of(data))


@operator("QGemm", domain=DOMAIN)
def qgemm(
    node: Node,
    a: Expr,
    a_scale: Expr,
    a_zero: Expr,
    b: Expr,
    b_scale: Expr,
    b_zero: Expr,
    c: Expr | None = None,
    scale: Expr | None = None,
    zero: Expr | None = None,
) -> Expr:
    """``alpha * a' @ b'`` in integers, plus an int32 bias, scaled; floats where no output scale is given."""
    a = node.transpose(a, (1, 0)) if node.get_int("transA", 0) else a
    b = node.transpose(b, (1, 0)) if node.get_int("transB", 0) else b
    total = integer_product(node, a, a_zero, b, b_zero)
    if c is not None:
        total = node.emit(relax.op.add(total, c))
    factor = node.emit(relax.op.multiply(_flat(node, a_scale), _flat(node, b_scale)))
    factor = node.emit(relax.op.multiply(factor, node.const(node.get_float("alpha", 1.0), factor)))
    if scale is None or zero is None:
        return relax.op.multiply(node.cast(total, "float32"), factor)
    return requantized(node, total, node.emit(relax.op.divide(factor, _flat(node, scale))), zero)


@operator("MatMulIntegerToFloat", domain=DOMAIN)
def matmul_integer_to_float(
    node: Node,
    a: Expr,
    b: Expr,
    a_scale: Expr,
    b_scale: Expr,
    a_zero: Expr | None = None,
    b_zero: Expr | None = None,
    bias: Expr | None = None,
) -> Expr:
    """The integer product times both scales, plus a bias."""
    total = node.cast(integer_product(node, a, a_zero, b, b_zero), "float32")
    factor = node.emit(relax.op.multiply(_flat(node, a_scale), _flat(node, b_scale)))
    out = relax.op.multiply(total, factor)
    return out if bias is None else relax.op.add(node.emit(out), bias)


@operator("DynamicQuantizeMatMul", domain=DOMAIN)
def dynamic_quantize_matmul(
    node: Node, a: Expr, b: Expr, b_scale: Expr, b_zero: Expr | None = None, bias: Expr | None = None
) -> Expr:
    """The product of a tensor quantized by its own range with a quantized weight."""
    codes, scale, zero = dynamic_quantize_linear(node, a)
    return matmul_integer_to_float(node, node.emit(codes), b, scale, b_scale, zero, b_zero, bias)


def _quantized(node: Node, data: Expr, scale: Expr, zero: Expr | None, dtype: str) -> Expr:
    zero = constant(np.zeros(shape_of(scale), np.dtype(dtype))) if zero is None else zero
    return quantize(data, scale, zero, dtype)


def _flat(node: Node, scale: Expr) -> Expr:
    """Return a scale as a number, or as a vector that goes with the last axis."""
    return node.reshape(scale, ()) if np.prod(shape_of(scale), dtype=int) == 1 else scale
