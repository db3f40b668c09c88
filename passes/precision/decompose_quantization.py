"""Quantization as arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from ...tvm_names import constant_value, dtype_of, is_constant, shape_of
from ..conversion import convert
from ..expressions import constant, operator_name
from ..quantization import DEQUANTIZE, QUANTIZE
from ..rewrite import RewritePass, register_pass
from ..scope import Scope
from .integer_ranges import range_of

if TYPE_CHECKING:
    from tvm.relax import Call, Expr


@register_pass("decompose-quantization")
@dataclass(frozen=True)
class DecomposeQuantization(RewritePass):
    """What no kernel computes on integers is computed in floats, rounded where the operators' definitions round.

    quantize(x, s, z)    -->  convert(clip(round(x / s) + z, least, largest))
    dequantize(q, s, z)  -->  convert((convert(q) - z) * s)
    """

    roots = (QUANTIZE, DEQUANTIZE)

    def rewrite(self, value: Expr, scope: Scope) -> Expr:
        """Return the arithmetic."""
        return _quantized(value) if operator_name(value) == QUANTIZE else _dequantized(value)


def _quantized(call: Call) -> Expr:
    data, scale, zero_point = call.args
    dtype, precision = str(call.attrs["dtype"]), str(call.attrs["precision"])
    grid = _Grid(call)
    quotient = relax.op.divide(grid.split(_typed(data, precision)), grid.spread(_typed(scale, precision)))
    wide = convert(quotient, "float32")
    limits = range_of(dtype)
    if limits is None:
        # An 8-bit float has no zero point; that of a four-bit one is a number like any other.
        wide = relax.op.add(wide, grid.spread(_typed(zero_point, "float32"))) if dtype == "float4_e2m1fn" else wide
    else:
        wide = relax.op.add(relax.op.round(wide), grid.spread(_typed(zero_point, "float32")))
        wide = relax.op.clip(wide, *limits)
    whole = grid.joined(wide)
    return convert(whole, dtype, bool(call.attrs["saturate"]))


def _dequantized(call: Call) -> Expr:
    data, scale, zero_point = call.args
    grid = _Grid(call)
    centred = relax.op.subtract(grid.split(_typed(data, "float32")), grid.spread(_typed(zero_point, "float32")))
    numbers = relax.op.multiply(centred, grid.spread(_typed(scale, "float32")))
    return convert(grid.joined(numbers), str(call.attrs["dtype"]))


class _Grid:
    """How scales stand against a tensor: both are reshaped so that numpy's broadcasting matches them."""

    def __init__(self, call: Call) -> None:
        self.shape = shape_of(call)
        self.axis, self.block = int(call.attrs["axis"]), int(call.attrs["block_size"])
        self.blocks = shape_of(call.args[1])[self.axis] if self.block else 0
        self.whole = self.block > 0 and self.blocks * self.block == self.shape[self.axis]

    def split(self, data: Expr) -> Expr:
        """Return the tensor with its blocks as an axis of their own, where all of them are full."""
        if not self.whole:
            return data
        return relax.op.reshape(data, (*self.shape[: self.axis], self.blocks, self.block, *self.shape[self.axis + 1 :]))

    def joined(self, data: Expr) -> Expr:
        """Return the tensor in its own shape."""
        return relax.op.reshape(data, self.shape) if self.whole else data

    def spread(self, scale: Expr) -> Expr:
        """Return scales or zero points in a shape that broadcasts."""
        if self.whole:
            return relax.op.expand_dims(scale, self.axis + 1)
        if self.block:
            repeated = relax.op.repeat(scale, self.block, self.axis)
            return relax.op.strided_slice(repeated, [self.axis], [0], [self.shape[self.axis]])
        count = int(np.prod(_dims(scale), dtype=np.int64))
        if count == 1:
            return relax.op.reshape(scale, ())
        return relax.op.reshape(scale, (count,) + (1,) * (len(self.shape) - self.axis - 1))


def _dims(expr: Expr) -> tuple[int, ...]:
    """Return the shape of an operand, or of the conversion of one."""
    inner = expr.args[0] if isinstance(expr, relax.Call) else expr
    return shape_of(inner)


def _typed(operand: Expr, dtype: str) -> Expr:
    if dtype_of(operand) == dtype:
        return operand
    if is_constant(operand):
        return constant(constant_value(operand).astype(dtype))
    return convert(operand, dtype)
