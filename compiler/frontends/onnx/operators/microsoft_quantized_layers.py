"""Layers of com.microsoft with quantized weights: attention, embeddings, tables and products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....errors import UserError
from .....passes.quantization import dequantize
from .....tvm_names import dtype_of, shape_of
from ..node import Node, constant, positive_axis, rank_of
from ..registry import operator
from .microsoft_attention import attend_projected
from .microsoft_linear import DOMAIN, unpacked
from .microsoft_norms import embed_layer_normalization
from .microsoft_quantized import matmul_integer_to_float
from .quantized import dequantized

if TYPE_CHECKING:
    from tvm.relax import Expr

#: The 16 numbers of NormalFloat (Dettmers and others, QLoRA, 2023, appendix E) and of 4-bit floats, by code.
_NORMAL_FLOAT = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
_FLOAT = (0.0, 0.0625 / 12, 8 / 12, 12 / 12, 4 / 12, 6 / 12, 2 / 12, 3 / 12)
_CODES = {0: (*_FLOAT, *(-each for each in _FLOAT)), 1: _NORMAL_FLOAT}


@operator("QAttention", domain=DOMAIN)
def qattention(
    node: Node,
    data: Expr,
    weight: Expr,
    bias: Expr,
    scale: Expr,
    w_scale: Expr,
    mask: Expr | None = None,
    zero: Expr | None = None,
    w_zero: Expr | None = None,
    past: Expr | None = None,
) -> Sequence[Expr]:
    """Attention whose projection is a product of integers; what follows it is computed in floats."""
    if node.get_int("do_rotary", 0) or node.get_int("past_present_share_buffer", 0):
        raise UserError("QAttention with a shared buffer of past keys or with do_rotary is not supported")
    whole = matmul_integer_to_float(node, data, weight, scale, w_scale, zero, w_zero, bias)
    return attend_projected(node, node.emit(whole), mask, past, None)


@operator("QEmbedLayerNormalization", domain=DOMAIN)
def qembed_layer_normalization(node: Node, *operands: Expr | None) -> Sequence[Expr]:
    """EmbedLayerNormalization whose tables, scale and bias stand on grids of their own."""
    ids, segments, *tables, mask = operands[:8]
    scales, zeros = operands[8:13], operands[13:18]
    plain = [
        None if table is None or scale is None else dequantized(node, table, scale, zero)
        for table, scale, zero in zip(tables, scales, zeros, strict=True)
    ]
    return embed_layer_normalization(node, ids, segments, *plain, mask)


@operator("MatMulBnb4", domain=DOMAIN)
def matmul_bnb4(node: Node, data: Expr, packed: Expr, largest: Expr) -> Expr:
    """Product with a weight [N, K] of 4-bit codes, the first of a byte in its high bits, scaled by blocks in a row.

    The weight is decoded when the model is compiled.
    """
    rows, depth, block = (node.get_int(name, 0) for name in ("N", "K", "block_size"))
    kind = node.get_int("quant_type", 1)
    if kind not in _CODES or min(rows, depth, block) < 1:
        raise UserError(f"a weight [{rows}, {depth}] of the type {kind} in blocks of {block} is not supported")
    codes = unpacked(node.array(packed, "the weight of MatMulBnb4").reshape(-1, 1), 4)[:, ::-1].reshape(-1)
    scales = node.array(largest, "the scales of MatMulBnb4").reshape(-1)
    count = rows * depth
    if codes.size < count or scales.size != math.ceil(count / block):
        raise UserError(f"its {codes.size} codes and {scales.size} scales do not fit a weight of [{rows}, {depth}]")
    numbers = np.array(_CODES[kind], np.float32)[codes[:count]]
    weight = numbers * np.repeat(scales.astype(np.float32), block)[:count]
    matrix = weight.reshape(rows, depth).astype(np.dtype(dtype_of(data)))
    turned = matrix.T if node.get_int("transB", 1) else matrix
    return relax.op.matmul(data, constant(np.ascontiguousarray(turned)))


@operator("GatherBlockQuantized", domain=DOMAIN)
def gather_block_quantized(node: Node, data: Expr, places: Expr, scales: Expr, zeros: Expr | None = None) -> Expr:
    """Rows of a table of integers, scaled by blocks along their last axis; only the rows taken become floats."""
    if dtype_of(data) not in ("uint8", "int4", "uint4"):
        raise UserError(f"a table of {dtype_of(data)} is not supported: quantize it to 4 or 8 bits")
    rank, bits, block = rank_of(data), node.get_int("bits", 4), node.get_int("block_size", 128)
    axes = [positive_axis(node.get_int(name, default), rank) for name, default in _TABLE_AXES]
    if axes != [0, rank - 1] or block < 1:
        raise UserError("only rows (gather_axis 0) scaled by blocks of their last axis can be taken from a table")
    codes = node.array(data, "the table of GatherBlockQuantized")
    offsets = None if zeros is None else node.array(zeros, "the zero points of GatherBlockQuantized")
    middle = 0
    if dtype_of(data) == "uint8":
        codes, middle = unpacked(codes, bits) if bits < 8 else codes, 1 << (bits - 1)
        offsets = offsets if offsets is None or bits == 8 else unpacked(offsets, bits)
    shape = shape_of(scales)
    offsets = np.full(shape, middle) if offsets is None else offsets[..., : shape[-1]]
    kind = "int8" if dtype_of(data) == "int4" else "uint8"
    parts = [constant(codes.astype(kind)), scales, constant(offsets.astype(kind))]
    rows, factors, zero_points = (node.emit(relax.op.take(each, places, axis=0, mode="wrap")) for each in parts)
    return dequantize(rows, factors, zero_points, dtype_of(scales), rank_of(rows) - 1, block)


_TABLE_AXES = (("gather_axis", 0), ("quantize_axis", 1))
