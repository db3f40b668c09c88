"""The operators that change element types where ``astype`` says too little.

``relax.tilewright.convert`` converts between any two of ONNX's element types by ONNX's rules. The precision phase turns
it into ``relax.tilewright.decode``, from the bits of a small float to float32, and ``relax.tilewright.encode`` back:
both are pointwise operators of machine types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvm import relax, te
from tvm.ir import Op, make_node, register_op_attr

from ..element_types import SmallFloat, small_float
from ..small_floats import decode as decoded
from ..small_floats import encode as encoded
from ..tvm_names import register_operator

if TYPE_CHECKING:
    from tvm.relax import BlockBuilder, Call, Expr

#: The operators' names without ``relax.``.
CONVERT, DECODE, ENCODE = "tilewright.convert", "tilewright.decode", "tilewright.encode"


def convert(data: Expr, dtype: str, saturate: bool = True, round_mode: str = "up") -> Call:
    """Return a tensor in another element type.

    Args:
        dtype: any name that ONNX's element types have in numpy.
        saturate: whether numbers beyond the largest of an 8-bit float become the largest.
        round_mode: to ``float8_e8m0fnu``: "up", "down" or "nearest".
    """
    return _call(CONVERT, data, dtype=dtype, saturate=int(saturate), round_mode=round_mode)


def decode(bits: Expr, dtype: str) -> Call:
    """Return as float32 a tensor of the bits of a small float."""
    return _call(DECODE, bits, format=dtype)


def encode(data: Expr, dtype: str, saturate: bool = True, round_mode: str = "up") -> Call:
    """Return as bits of a small float a tensor of float32 or float64."""
    return _call(ENCODE, data, format=dtype, saturate=int(saturate), round_mode=round_mode)


def format_of(call: Call) -> SmallFloat:
    """Return the small float that a call decodes or encodes."""
    found = small_float(str(call.attrs["format"]))
    assert found is not None, f"'{call.attrs['format']}' is no small float"
    return found


def _call(name: str, data: Expr, **attributes: Any) -> Call:
    return relax.Call(Op.get(f"relax.{name}"), [data], make_node("ir.DictAttrs", **attributes))


def _expand_decode(builder: BlockBuilder, call: Call) -> Expr:
    def compute(bits: Any) -> Any:
        return te.compute(bits.shape, lambda *at: decoded(bits(*at), format_of(call), lambda each: each), "decoded")

    return builder.call_te(compute, call.args[0], primfunc_name_hint="decode")


def _expand_encode(builder: BlockBuilder, call: Call) -> Expr:
    saturate, mode = bool(call.attrs["saturate"]), str(call.attrs["round_mode"])

    def compute(data: Any) -> Any:
        def element(*at: Any) -> Any:
            return encoded(data(*at), format_of(call), saturate, mode, lambda each: each)

        return te.compute(data.shape, element, "encoded")

    return builder.call_te(compute, call.args[0], primfunc_name_hint="encode")


def _tensor_like(call: Call, dtype: str) -> Any:
    return relax.TensorType(call.args[0].ty.shape, dtype)


register_operator(
    f"relax.{CONVERT}", "Another element type.", lambda call, _: _tensor_like(call, str(call.attrs["dtype"]))
)
register_operator(f"relax.{DECODE}", "Bits to float32.", lambda call, _: _tensor_like(call, "float32"))
register_operator(f"relax.{ENCODE}", "Numbers to bits.", lambda call, _: _tensor_like(call, format_of(call).container))
register_op_attr(f"relax.{DECODE}", "FLegalize", _expand_decode)
register_op_attr(f"relax.{ENCODE}", "FLegalize", _expand_encode)
