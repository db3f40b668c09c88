"""The operators ``relax.tilewright.matmul_nbits`` and ``take_nbits``: weights of four or eight bits, scaled by blocks.

    matmul_nbits(x [..., K], codes, scale [N, blocks], offset?) = x @ weight^T        weight [N, K]
    take_nbits(codes, scale [N, blocks], indices, offset?) = weight[indices]

with ``weight[n, k] = code[n, k] * scale[n, k // block] + offset[n, k // block]``, an offset only where zero is not code
zero. Codes of eight bits are int8 [N, K]; of four bits eight neighbours along K are one int32 [N, K / 8], the first in
the lowest bits, each in two's complement. Scales are float32, or the bits of bfloat16 as uint16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import Op, make_node, register_op_attr

from ..nbits import NIBBLES, depth_of
from ..tvm_names import dtype_of, register_operator, shape_of
from .conversion import decode

if TYPE_CHECKING:
    from tvm.relax import BlockBuilder, Call, Expr

#: The operators' names without ``relax.``.
MATMUL, TAKE = "tilewright.matmul_nbits", "tilewright.take_nbits"


def matmul_nbits(x: Expr, codes: Expr, scale: Expr, offset: Expr | None, bits: int, block: int) -> Call:
    """Return a product with a weight in few bits. All operands but ``x`` are constants."""
    operands = [x, codes, scale, *([] if offset is None else [offset])]
    return relax.Call(Op.get(f"relax.{MATMUL}"), operands, make_node("ir.DictAttrs", bits=bits, block=block))


def take_nbits(
    codes: Expr, scale: Expr, indices: Expr, offset: Expr | None, bits: int, block: int, shared: bool
) -> Call:
    """Return rows of a table in few bits; indices wrap around.

    Args:
        shared: whether a product reads the same table.
    """
    attrs = make_node("ir.DictAttrs", bits=bits, block=block, shared=int(shared))
    operands = [codes, scale, indices, *([] if offset is None else [offset])]
    return relax.Call(Op.get(f"relax.{TAKE}"), operands, attrs)


def packed(codes: NDArray[np.int8], bits: int) -> NDArray[Any]:
    """Return codes [N, K] as the operators store them."""
    if bits == 8:
        return codes
    nibbles = (codes.reshape(len(codes), -1, NIBBLES).astype(np.int64) & 0xF).astype(np.uint32)
    words = np.zeros(nibbles.shape[:-1], np.uint32)
    for at in range(NIBBLES):
        words |= nibbles[..., at] << np.uint32(4 * at)
    return words.view(np.int32)


def _numbers(builder: BlockBuilder, call: Call, codes: Expr, scale: Expr, offset: Expr | None) -> Expr:
    """Return the weight [N, K] as plain operators."""

    def do(name: str, *args: Any) -> Any:
        return builder.emit(getattr(relax.op, name)(*args))

    bits, block = int(call.attrs["bits"]), int(call.attrs["block"])
    rows, depth = shape_of(codes)[0], depth_of(shape_of(codes), bits)
    if bits == 4:
        left = relax.const(np.arange(28, -1, -4, dtype=np.int32))
        shifted = do("left_shift", do("expand_dims", codes, 2), left)
        codes = do("reshape", do("right_shift", shifted, relax.const(28, "int32")), (rows, depth))
    weight = do("astype", codes, "float32")

    def spread(each: Expr) -> Expr:
        wide = builder.emit(decode(each, "bfloat16")) if dtype_of(each) == "uint16" else each
        repeated = do("repeat", wide, block, 1)
        return do("strided_slice", repeated, [1], [0], [depth])

    weight = do("multiply", weight, spread(scale))
    return weight if offset is None else do("add", weight, spread(offset))


def _expand_matmul(builder: BlockBuilder, call: Call) -> Expr:
    x, codes, scale, *rest = call.args
    weight = _numbers(builder, call, codes, scale, rest[0] if rest else None)
    return relax.op.matmul(x, builder.emit(relax.op.permute_dims(weight)))


def _expand_take(builder: BlockBuilder, call: Call) -> Expr:
    codes, scale, indices, *rest = call.args
    weight = _numbers(builder, call, codes, scale, rest[0] if rest else None)
    return relax.op.take(weight, indices, 0, mode="wrap")


def _infer_matmul(call: Call, _: Any) -> Any:
    x, codes = call.args[:2]
    return relax.TensorType([*x.ty.shape.values[:-1], codes.ty.shape.values[0]], "float32")


def _infer_take(call: Call, _: Any) -> Any:
    codes, _, indices = call.args[:3]
    depth = depth_of(shape_of(codes), int(call.attrs["bits"]))
    return relax.TensorType([*indices.ty.shape.values, depth], "float32")


register_operator(f"relax.{MATMUL}", "A product with weights in few bits.", _infer_matmul)
register_operator(f"relax.{TAKE}", "Rows of a table in few bits.", _infer_take)
register_op_attr(f"relax.{MATMUL}", "FLegalize", _expand_matmul)
register_op_attr(f"relax.{TAKE}", "FLegalize", _expand_take)
