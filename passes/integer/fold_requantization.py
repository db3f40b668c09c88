"""Scales, biases and zero points between integer sums and the next grid become one multiply-add."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from ...tvm_names import constant_value, dtype_of, is_constant
from ..expressions import constant
from ..quantization import DEQUANTIZE, QUANTIZE
from ..rewrite import RewritePass, register_pass
from .grid import Grid, dequantized_operand, rank

if TYPE_CHECKING:
    from tvm.relax import Expr

    from ..scope import Scope

_RANGES = {"uint8": (0.0, 255.0), "int8": (-128.0, 127.0)}
#: How many sums deep a chain is followed.
_DEPTH = 6


@dataclass(frozen=True)
class _Linear:
    """``expr + offset``; None for an expression that is nothing but its offset."""

    expr: Expr | None
    offset: NDArray[Any]


@register_pass("fold-requantization")
@dataclass(frozen=True)
class FoldRequantization(RewritePass):
    """Multiply by what is left of all scales, once, and round.

    quantize(relu(float(sums) * a + b), s, z)
        -->  uint8(round(clip(float(sums) * (a / s) + b / s, 0, 255 - z)) + z)

    The zero point is added after rounding, as quantize does it: before, ties would go to another neighbour.
    Residual sums are linear, too: quantize(dequantize(p) + dequantize(q)). Numbers that were just rounded to a grid are
    taken as they are before they become bytes.
    """

    roots = (QUANTIZE,)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the bytes, None where what is quantized is no linear function of integers."""
        grid = Grid.of(value, scope)
        if grid is None or not grid.single or str(value.attrs["precision"]) != "float32":
            return None
        zero, factor = float(grid.zero), 1.0 / float(grid.scale)
        inner, low, high = _limits(value.args[0], factor, zero, _RANGES[grid.dtype], scope)
        if low > high or dtype_of(inner) != "float32":
            return None
        linear = _scaled(inner, factor, scope, _DEPTH)
        if linear is None:
            return None
        whole = _plus(linear.expr, linear.offset)
        rounded = relax.op.round(relax.op.clip(whole, low, high))
        return relax.op.astype(_plus(rounded, np.asarray(zero)), grid.dtype)


def _limits(
    expr: Expr, factor: float, zero: float, limits: tuple[float, float], scope: Scope
) -> tuple[Expr, float, float]:
    """Return what activations at the end clip, and all limits in units of the grid, from its zero point."""
    low, high = (each - zero for each in limits)
    while scope.used_once(expr):
        relu, clip = scope.call(expr, "nn.relu"), scope.call(expr, "clip")
        if relu is not None:
            expr, low = relu.args[0], max(low, 0.0)
        elif clip is not None:
            least, most = (float(each.value) for each in clip.args[1:])
            expr, low, high = clip.args[0], max(low, least * factor), min(high, most * factor)
        else:
            break
    return expr, low, high


def _scaled(expr: Expr, factor: float, scope: Scope, depth: int) -> _Linear | None:
    """Return an expression times a factor; None where it is no linear function of integers."""
    found = dequantized_operand(expr, scope)
    if found is not None:
        data, grid = found
        scale = grid.spread(grid.scale.astype(np.float64) * factor, rank(expr))
        offset = -grid.spread(grid.zero.astype(np.float64), rank(expr)) * scale
        return _Linear(_times(_as_float(data, scope), scale), offset)
    if not scope.used_once(expr) or not depth:
        return None
    product, total = scope.call(expr, "multiply"), scope.call(expr, "add")
    if product is not None and is_constant(product.args[1]):
        cast = scope.call(product.args[0], "astype")
        if cast is None or dtype_of(cast.args[0]) != "int32":
            return None
        return _Linear(
            _times(product.args[0], constant_value(product.args[1]).astype(np.float64) * factor), np.zeros(())
        )
    return _scaled_sum(total.args, factor, scope, depth) if total is not None else None


def _scaled_sum(terms: list[Expr], factor: float, scope: Scope, depth: int) -> _Linear | None:
    linear = [_term(each, factor, scope, depth) for each in terms]
    if any(each is None for each in linear):
        return None
    one, other = linear[0], linear[1]
    assert one is not None
    assert other is not None
    offset = one.offset + other.offset
    if one.expr is None or other.expr is None:
        return _Linear(other.expr if one.expr is None else one.expr, offset)
    return _Linear(relax.op.add(one.expr, other.expr), offset)


def _term(expr: Expr, factor: float, scope: Scope, depth: int) -> _Linear | None:
    """Return a term of a sum; a constant, or what a dequantize makes of one, is an offset."""
    if is_constant(expr):
        return _Linear(None, constant_value(expr).astype(np.float64) * factor)
    known = _dequantized_constant(expr, scope)
    return _Linear(None, known * factor) if known is not None else _scaled(expr, factor, scope, depth - 1)


def _dequantized_constant(expr: Expr, scope: Scope) -> NDArray[Any] | None:
    """Return the numbers of a dequantized constant (a bias), possibly reshaped."""
    reshape = scope.call(expr, "reshape")
    call = scope.call(reshape.args[0] if reshape is not None else expr, DEQUANTIZE)
    if call is None or call.attrs["block_size"]:
        return None
    data, scale, zero = (scope.constant(each) for each in call.args)
    if data is None or scale is None or zero is None or (scale.size > 1 and data.ndim != 1):
        return None
    numbers = (data.astype(np.int64) - zero.astype(np.int64)) * scale.astype(np.float64)
    return numbers.reshape([int(each) for each in expr.ty.shape.values])


def _times(expr: Expr, factor: NDArray[Any]) -> Expr:
    return relax.op.multiply(expr, constant(np.asarray(factor, np.float32)))


def _plus(expr: Expr, offset: NDArray[Any]) -> Expr:
    return relax.op.add(expr, constant(offset.astype(np.float32))) if np.any(offset) else expr


def _as_float(data: Expr, scope: Scope) -> Expr:
    """Return bytes as numbers: the rounded ones that they were made of, where these are at hand."""
    cast = scope.call(data, "astype")
    if cast is not None and scope.used_once(data):
        shifted = scope.call(cast.args[0], "add")
        rounded = shifted.args[0] if shifted is not None else cast.args[0]
        if scope.call(rounded, "round") is not None:
            return cast.args[0]
    return relax.op.astype(data, "float32")
