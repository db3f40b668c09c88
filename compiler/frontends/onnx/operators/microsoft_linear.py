"""Products, convolutions and activations of com.microsoft, as onnxruntime's optimizer fuses them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import relax

from .....errors import UserError
from .....passes.quantization import dequantize
from .....tvm_names import dtype_of
from ..node import Node, constant, rank_of
from ..registry import operator
from .convolution import conv
from .linear import gemm

if TYPE_CHECKING:
    from tvm.relax import Expr

DOMAIN = "com.microsoft"


@operator("Gelu", domain=DOMAIN)
def gelu(node: Node, data: Expr) -> Expr:
    """``x * Phi(x)`` with Phi the normal distribution."""
    return relax.op.nn.gelu(data)


@operator("BiasGelu", domain=DOMAIN)
def bias_gelu(node: Node, data: Expr, bias: Expr) -> Expr:
    """Gelu of a biased tensor."""
    return relax.op.nn.gelu(node.emit(relax.op.add(data, bias)))


@operator("FastGelu", domain=DOMAIN)
def fast_gelu(node: Node, data: Expr, bias: Expr | None = None) -> Expr:
    """Gelu's approximation by tanh, of a tensor that may be biased."""
    return relax.op.nn.gelu_tanh(data if bias is None else node.emit(relax.op.add(data, bias)))


@operator("QuickGelu", domain=DOMAIN)
def quick_gelu(node: Node, data: Expr) -> Expr:
    """``x * sigmoid(alpha * x)``."""
    alpha = node.get_float("alpha", 1.702)
    if alpha == 1.0:
        return relax.op.nn.silu(data)
    inner = node.emit(relax.op.multiply(data, node.const(alpha, data)))
    return relax.op.multiply(data, node.emit(relax.op.sigmoid(inner)))


@operator("BiasSplitGelu", domain=DOMAIN)
def bias_split_gelu(node: Node, data: Expr, bias: Expr) -> Expr:
    """The first half of the biased channels times gelu of the second."""
    biased = node.emit(relax.op.add(data, bias))
    halves = node.emit(relax.op.split(biased, 2, -1))
    left, right = (node.emit(relax.TupleGetItem(halves, at)) for at in (0, 1))
    return relax.op.multiply(left, node.emit(relax.op.nn.gelu(right)))


@operator("FusedMatMul", "TransposeMatMul", domain=DOMAIN)
def fused_matmul(node: Node, a: Expr, b: Expr) -> Expr:
    """``alpha * a' @ b'``; ``transBatchA`` says that a's batch axes stand between its rows and its columns."""
    a = _transposed(node, a, node.get_int("transA", 0), node.get_int("transBatchA", 0))
    b = _transposed(node, b, node.get_int("transB", 0), node.get_int("transBatchB", 0))
    out = node.emit(relax.op.matmul(a, b))
    alpha = node.get_float("alpha", 1.0)
    return out if alpha == 1.0 else relax.op.multiply(out, node.const(alpha, out))


@operator("FusedMatMulActivation", domain=DOMAIN)
def fused_matmul_activation(node: Node, a: Expr, b: Expr) -> Expr:
    """FusedMatMul and an activation."""
    out = fused_matmul(node, a, b)
    return _activated(node, node.emit(out), _activation_parameters(node))


@operator("GemmFastGelu", domain=DOMAIN)
def gemm_fast_gelu(node: Node, data: Expr, weight: Expr, bias: Expr | None = None) -> Expr:
    """FastGelu of a product."""
    return fast_gelu(node, node.emit(relax.op.matmul(data, weight)), bias)


@operator("FusedGemm", domain=DOMAIN)
def fused_gemm(node: Node, a: Expr, b: Expr, c: Expr | None = None) -> Expr:
    """Gemm and an activation."""
    return _activated(node, node.emit(gemm(node, a, b, c)), _activation_parameters(node))


@operator("FusedConv", domain=DOMAIN)
def fused_conv(node: Node, data: Expr, weight: Expr, bias: Expr | None = None, other: Expr | None = None) -> Expr:
    """Convolution, a tensor to add, and an activation."""
    out = conv(node, data, weight, bias)
    if other is not None:
        out = relax.op.add(node.emit(out), other)
    return _activated(node, node.emit(out), list(node.get_floats("activation_params", ())))


@operator("NhwcFusedConv", domain=DOMAIN)
def nhwc_fused_conv(node: Node, data: Expr, weight: Expr, bias: Expr | None = None, other: Expr | None = None) -> Expr:
    """FusedConv of tensors whose channels are last; the weight is as in FusedConv."""
    first, last = (0, 3, 1, 2), (0, 2, 3, 1)
    added = None if other is None else node.transpose(other, first)
    return node.transpose(node.emit(fused_conv(node, node.transpose(data, first), weight, bias, added)), last)


@operator("NhwcConv", domain=DOMAIN)
def nhwc_conv(node: Node, data: Expr, weight: Expr, bias: Expr | None = None) -> Expr:
    """Convolution of images whose channels are last; so are those of the weight."""
    planar = node.emit(conv(node, node.transpose(data, (0, 3, 1, 2)), node.transpose(weight, (0, 3, 1, 2)), bias))
    return node.transpose(planar, (0, 2, 3, 1))


@operator("MatMulNBits", domain=DOMAIN)
def matmul_nbits(
    node: Node,
    data: Expr,
    packed: Expr,
    scales: Expr,
    zeros: Expr | None = None,
    groups: Expr | None = None,
    bias: Expr | None = None,
) -> Expr:
    """Product with a weight of 2, 4 or 8 bits [N, K / block, bytes], scaled by blocks along K."""
    bits, block = node.get_int("bits", 4), node.get_int("block_size", 32)
    rows, depth = node.get_int("N", 0), node.get_int("K", 0)
    if groups is not None:
        raise UserError("MatMulNBits with g_idx is not supported: quantize without reordering the groups")
    if bits not in (2, 4, 8):
        raise UserError(f"MatMulNBits of {bits} bits is not supported: quantize to 4 or 8 bits")
    count = math.ceil(depth / block)
    codes = unpacked(node.array(packed, "the weight of MatMulNBits"), bits).reshape(rows, count * block)[:, :depth]
    middle = 1 << (bits - 1)
    if zeros is None:
        offsets = np.full((rows, count), middle, np.float32)
    else:
        stored = node.array(zeros, "the zero points of MatMulNBits")
        whole = stored.dtype.kind == "f"
        offsets = stored if whole else unpacked(stored.reshape(rows, -1), bits)[:, :count]
    # The codes stay integers: whoever computes in them later finds the dequantization as it is.
    weight = dequantize(
        constant(codes.astype(np.uint8)),
        node.reshape(scales, (rows, count)),
        node.const(np.asarray(offsets, np.float32).reshape(rows, count), "float32"),
        dtype_of(data),
        1,
        block,
    )
    out = node.emit(relax.op.matmul(data, node.transpose(node.emit(weight), (1, 0))))
    return out if bias is None else relax.op.add(out, bias)


def _activation_parameters(node: Node) -> list[float]:
    names = [f"activation_{name}" for name in ("alpha", "beta", "gamma")]
    return [node.get_float(name, 0.0) for name in names if node.has(name)]


def unpacked(array: Any, bits: int) -> Any:
    """Return the numbers of bytes, the lowest bits first, along the last axis."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = (array.astype(np.uint8)[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return parts.reshape(*array.shape[:-1], -1)


def _transposed(node: Node, data: Expr, matrix: int, batch: int) -> Expr:
    rank = rank_of(data)
    order = list(range(rank))
    if batch:
        order = [*range(1, rank - 1), 0, rank - 1]
    if matrix:
        order[-2:] = order[:-3:-1]
    return node.transpose(data, order) if rank >= 2 else data


def _activated(node: Node, data: Expr, parameters: list[float]) -> Expr:
    name = node.get_string("activation", "")
    if name not in _ACTIVATIONS:
        raise UserError(f"the fused activation '{name}' is not supported: export without onnxruntime's fusions")
    return _ACTIVATIONS[name](node, data, parameters)


def _hard_sigmoid(node: Node, data: Expr, parameters: list[float]) -> Expr:
    slope, offset = (*parameters, 0.2, 0.5)[:2] if len(parameters) == 2 else (0.2, 0.5)
    line = node.emit(relax.op.multiply(data, node.const(slope, data)))
    return relax.op.clip(node.emit(relax.op.add(line, node.const(offset, data))), 0.0, 1.0)


_ACTIVATIONS: dict[str, Callable[[Node, Any, list[float]], Any]] = {
    "": lambda node, data, parameters: data,
    "Relu": lambda node, data, parameters: relax.op.nn.relu(data),
    "Tanh": lambda node, data, parameters: relax.op.tanh(data),
    "Sigmoid": lambda node, data, parameters: relax.op.sigmoid(data),
    "LeakyRelu": lambda node, data, parameters: relax.op.nn.leakyrelu(data, (*parameters, 0.01)[0]),
    "Clip": lambda node, data, parameters: relax.op.clip(data, *parameters),
    "HardSigmoid": _hard_sigmoid,
}
