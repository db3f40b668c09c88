"""The operators ``relax.tilewright.quantize`` and ``relax.tilewright.dequantize``: numbers to a grid and back.

    quantize(x, scale, zero_point) = saturate(round_half_even(x / scale) + zero_point)
    dequantize(q, scale, zero_point) = (q - zero_point) * scale

One scale for the whole tensor (shape [] or [1]), one for each index of ``axis`` (shape [n]), or one for each block of
``block_size`` elements along ``axis`` (the tensor's rank). They stay in the module as they are up to the precision
phase, so that whoever computes in integers finds them; there they become arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvm import relax
from tvm.ir import Op, make_node

from ..tvm_names import dtype_of, register_operator

if TYPE_CHECKING:
    from tvm.relax import Call, Expr

#: The operators' names without ``relax.``.
QUANTIZE, DEQUANTIZE = "tilewright.quantize", "tilewright.dequantize"


def quantize(
    data: Expr,
    scale: Expr,
    zero_point: Expr,
    dtype: str,
    axis: int = 0,
    block_size: int = 0,
    saturate: bool = True,
    precision: str = "",
) -> Call:
    """Return a tensor on its grid.

    Args:
        zero_point: of the result's element type and the shape of the scale.
        dtype: the result's element type: an integer of at most 16 bits or a small float.
        axis: counted from the front; it matters only where there are several scales.
        block_size: 0 for scales that are not of blocks.
        saturate: for 8-bit floats, whether what is too large becomes the largest number.
        precision: the element type to divide in; that of the scale by default.
    """
    attrs = make_node(
        "ir.DictAttrs",
        axis=axis,
        block_size=block_size,
        dtype=dtype,
        saturate=int(saturate),
        precision=precision or dtype_of(scale),
    )
    return relax.Call(Op.get(f"relax.{QUANTIZE}"), [data, scale, zero_point], attrs)


def dequantize(data: Expr, scale: Expr, zero_point: Expr, dtype: str, axis: int = 0, block_size: int = 0) -> Call:
    """Return the numbers that a tensor on a grid stands for, computed in float32 and rounded to the element type."""
    attrs = make_node("ir.DictAttrs", axis=axis, block_size=block_size, dtype=dtype)
    return relax.Call(Op.get(f"relax.{DEQUANTIZE}"), [data, scale, zero_point], attrs)


def _infer_type(call: Call, _: Any) -> Any:
    return relax.TensorType(call.args[0].ty.shape, str(call.attrs["dtype"]))


register_operator(f"relax.{QUANTIZE}", "Numbers to a grid.", _infer_type)
register_operator(f"relax.{DEQUANTIZE}", "A grid to numbers.", _infer_type)
