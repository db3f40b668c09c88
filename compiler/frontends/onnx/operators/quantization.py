"""Numbers on a grid of integers or small floats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx.helper import tensor_dtype_to_np_dtype
from tvm import relax

from .....errors import UserError
from .....passes.quantization import dequantize, quantize
from .....tvm_names import dtype_of, shape_of
from ..node import Node, constant, positive_axis, rank_of
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr


#: The least scale of an element type: a denormal one has lost its digits, and one over it is infinite.
_LEAST = {each: float(np.finfo(each).tiny) for each in ("float32", "float64")} | {"float16": 2.0**-24}


@operator("QuantizeLinear")
@operator("QuantizeLinear", domain="com.microsoft")
def quantize_linear(node: Node, data: Expr, scale: Expr, zero_point: Expr | None = None) -> Expr:
    """``saturate(round_half_even(x / scale) + zero_point)``: one scale, one for each index of an axis, or blocks."""
    dtype = _named_type(node, "output_dtype") or (dtype_of(zero_point) if zero_point is not None else "uint8")
    if zero_point is None:
        zero_point = zeros_like(node, scale, dtype)
    _require_one_each(scale, zero_point)
    axis, block = _grid(node, data, scale)
    require_scales(node, scale)
    saturate = bool(node.get_int("saturate", 1))
    return quantize(data, scale, zero_point, dtype, axis, block, saturate, _named_type(node, "precision"))


@operator("DequantizeLinear")
@operator("DequantizeLinear", domain="com.microsoft")
def dequantize_linear(node: Node, data: Expr, scale: Expr, zero_point: Expr | None = None) -> Expr:
    """``(q - zero_point) * scale``, computed in single precision."""
    dtype = _named_type(node, "output_dtype") or dtype_of(scale)
    if zero_point is None:
        zero_point = zeros_like(node, scale, dtype_of(data))
    elif dtype_of(zero_point) != dtype_of(data):
        raise UserError(
            f"its zero points are of type {dtype_of(zero_point)}, what it dequantizes is of type {dtype_of(data)}"
        )
    _require_one_each(scale, zero_point)
    axis, block = _grid(node, data, scale)
    if not (block or _stands_for_zeros(node, data, scale, zero_point, axis)):
        require_scales(node, scale)
    return dequantize(data, scale, zero_point, dtype, axis, block)


@operator("DynamicQuantizeLinear")
def dynamic_quantize_linear(node: Node, data: Expr) -> tuple[Expr, Expr, Expr]:
    """To uint8 with the scale and the zero point of the data's own range, zero included."""
    zero = node.const(0.0, data)
    high = node.emit(relax.op.maximum(node.emit(relax.op.max(data)), zero))
    low = node.emit(relax.op.minimum(node.emit(relax.op.min(data)), zero))
    span = node.emit(relax.op.subtract(high, low))
    flat = node.emit(relax.op.equal(span, zero))
    span = node.emit(relax.op.where(flat, node.const(1.0, data), span))
    # In double precision, which rounds to the same float32: there a division stays one.
    ratio = node.emit(relax.op.divide(node.cast(span, "float64"), node.const(255.0, "float64")))
    scale = node.cast(ratio, "float32")
    places = node.emit(relax.op.subtract(zero, node.emit(relax.op.divide(low, scale))))
    places = node.emit(relax.op.clip(node.emit(relax.op.round(places)), 0, 255))
    zero_point = node.emit(relax.op.astype(places, "uint8"))
    return quantize(data, scale, zero_point, "uint8"), scale, zero_point


def require_scales(node: Node, scale: Expr) -> None:
    """Raise UserError for known scales that are zero, not finite, or so small that to divide by them overflows."""
    if not node.is_known(scale) or dtype_of(scale) not in _LEAST:
        return
    array = node.array(scale, "the scale").astype(np.float64)
    wrong = ~np.isfinite(array) | (np.abs(array) < _LEAST[dtype_of(scale)])
    if wrong.any():
        raise UserError(f"a scale of {array[wrong].flat[0]:g} stands for no grid: quantize the model again")


def _require_one_each(scale: Expr, zero_point: Expr) -> None:
    """Raise UserError unless every scale has one zero point; one of either may be a scalar or a vector of length 1."""
    shapes = [list(shape_of(each)) for each in (scale, zero_point)]
    if shapes[0] != shapes[1] and any(shape not in ([], [1]) for shape in shapes):
        raise UserError(f"zero points of shape {shapes[1]} do not fit scales of shape {shapes[0]}: each needs its own")


def _stands_for_zeros(node: Node, data: Expr, scale: Expr, zero_point: Expr, axis: int) -> bool:
    """Return whether scales of zero meet integers that are their zero points: channels that are all zero."""
    if not all(node.is_known(each) for each in (data, scale, zero_point)):
        return False
    shape = (-1,) + (1,) * (rank_of(data) - 1 - axis) if rank_of(scale) else ()
    scales, zeros = (node.array(each, "the grid").reshape(shape) for each in (scale, zero_point))
    if scales.all() or not np.isfinite(scales.astype(np.float64)).all():
        return False
    centred = node.array(data, "the data").astype(np.int64) - zeros.astype(np.int64)
    return not np.where(scales == 0, centred, 0).any()


def zeros_like(node: Node, scale: Expr, dtype: str) -> Expr:
    """Return zero points for scales that come without any."""
    zeros = constant(np.zeros(shape_of(scale), np.dtype(dtype)))
    return node.emit(zeros) if isinstance(zeros, relax.Call) else zeros


def _grid(node: Node, data: Expr, scale: Expr) -> tuple[int, int]:
    """Return the axis of the scales and the size of their blocks, 0 where they are not of blocks."""
    rank, count = rank_of(scale), int(np.prod(shape_of(scale)))
    if rank <= 1 and count == 1:
        return 0, 0
    axis = positive_axis(node.get_int("axis", 1), rank_of(data))
    if rank == 1:
        if count != shape_of(data)[axis]:
            raise UserError(f"{count} scales do not fit axis {axis} of a tensor of shape {list(shape_of(data))}")
        return axis, 0
    block = node.get_int("block_size", 0)
    wanted = [-(-size // block) if at == axis and block > 0 else size for at, size in enumerate(shape_of(data))]
    if block <= 0 or list(shape_of(scale)) != wanted:
        raise UserError(
            f"scales of shape {list(shape_of(scale))} do not fit blocks of {block} along axis {axis} of a tensor of "
            f"shape {list(shape_of(data))}"
        )
    return axis, block


def _named_type(node: Node, attribute: str) -> str:
    number = node.get_int(attribute, 0)
    return np.dtype(tensor_dtype_to_np_dtype(number)).name if number else ""
