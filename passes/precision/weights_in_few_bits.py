"""Weights that the model keeps in few bits stay so: products and lookups read them as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from ...nbits import NIBBLES
from ...tvm_names import dtype_of, expressions, is_constant, shape_of, with_plain_dims
from ...workload import TensorType, Workload
from ..conversion import CONVERT
from ..expressions import constant, permutation_of
from ..fusion.anchors import anchor_of
from ..nbits import matmul_nbits, packed, take_nbits
from ..quantization import DEQUANTIZE
from ..rewrite import RewritePass, register_pass

if TYPE_CHECKING:
    from tvm.relax import Call, Expr

    from ..scope import Scope

Array = NDArray[Any]


@dataclass(frozen=True)
class Codes:
    """The operands of the operators on few bits; see :mod:`..nbits`."""

    codes: Expr
    scale: Expr
    offset: Expr | None
    bits: int
    block: int


#: What each constant became, by the constant and whether it was transposed: two readers share one.
Stored = dict[tuple["Expr", "Expr", bool], Codes | None]


@register_pass("products-of-few-bits")
@dataclass(frozen=True)
class ProductsOfFewBits(RewritePass):
    """Multiply by weights that are unpacked in registers.

    matmul(x, dequantize(w, s, z))                -->  matmul_nbits(x, w^T, s^T, -z * s)
    matmul(x, permute_dims(dequantize(w, s, z)))  -->  matmul_nbits(x, w, s, -z * s)

    Weights are constants of four or eight bits [K, N] with a scale for all, for each column, or for blocks along K.

    Attributes:
        computes: whether some template makes a kernel of a workload.
        stored: filled with the weights that were taken.
    """

    computes: Callable[[Workload], bool]
    stored: Stored = field(default_factory=dict, compare=False)
    roots = ("matmul",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the product; float16 is computed in float32."""
        x, weight = value.args
        dtype = dtype_of(value)
        if is_constant(x) or dtype not in ("float32", "float16") or len(shape_of(weight)) != 2:
            return None
        transpose = scope.call(weight, "permute_dims")
        call = scope.call(transpose.args[0] if transpose is not None else weight, DEQUANTIZE)
        if call is None or (transpose is not None and permutation_of(transpose) != (1, 0)):
            return None
        found = stored_codes(call, transpose is None, scope, self.stored)
        if found is None or not self._has_kernel(x, found):
            return None
        wide = relax.op.astype(x, "float32") if dtype == "float16" else x
        product = matmul_nbits(wide, found.codes, found.scale, found.offset, found.bits, found.block)
        return relax.op.astype(product, dtype) if dtype == "float16" else product

    def _has_kernel(self, x: Expr, found: Codes) -> bool:
        data = relax.Var("x", relax.TensorType(expressions(shape_of(x)), "float32"))
        call = matmul_nbits(data, found.codes, found.scale, found.offset, found.bits, found.block)
        return _has_kernel(call, self.computes)


@register_pass("lookups-of-few-bits")
@dataclass(frozen=True)
class LookupsOfFewBits(RewritePass):
    """Unpack the rows of a table that are looked up.

    take(dequantize(table, s, z), indices, axis=0)  -->  take_nbits(table, s, indices, -z * s)

    Attributes:
        computes: whether some template makes a kernel of a workload.
        stored: the weights that products read: a table among them is stored as they want it.
    """

    computes: Callable[[Workload], bool]
    stored: Stored = field(default_factory=dict, compare=False)
    roots = ("take",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the lookup."""
        call = scope.call(value.args[0], DEQUANTIZE)
        if call is None or dtype_of(value) != "float32" or value.attrs.axis is None or int(value.attrs.axis):
            return None
        shared = self.stored.get((call.args[0], call.args[1], False)) is not None
        found = stored_codes(call, False, scope, self.stored)
        if found is None:
            return None
        # Indices of other modes are never below zero, or counted from the end.
        made = take_nbits(found.codes, found.scale, value.args[1], found.offset, found.bits, found.block, shared)
        if str(value.attrs.mode) == "clip" or not _has_kernel(made, self.computes):
            return None
        return made


def _has_kernel(call: Call, computes: Callable[[Workload], bool]) -> bool:
    call = with_plain_dims(relax.BlockBuilder().normalize(call))
    anchor = anchor_of(call, lambda _: None)
    if anchor is None:
        return False
    inputs = tuple(TensorType(shape_of(each), dtype_of(each)) for each in anchor.operands)
    output = TensorType(shape_of(call), dtype_of(call))
    return computes(Workload(anchor.family, inputs, (output,), anchor.attrs, len(inputs)))


def stored_codes(call: Call, transposed: bool, scope: Scope, stored: Stored) -> Codes | None:
    """Return a dequantized constant [N, K], or [K, N] if ``transposed``, as the operators store it."""
    key = (call.args[0], call.args[1], transposed)
    if key not in stored:
        stored[key] = _codes(call, transposed, scope)
    return stored[key]


def _codes(call: Call, transposed: bool, scope: Scope) -> Codes | None:
    arrays = [_array(each, scope) for each in call.args]
    if any(each is None for each in arrays) or arrays[0].ndim != 2 or not arrays[0].size:  # type: ignore[union-attr]
        return None
    data, scale, zero = (np.asarray(each) for each in arrays)
    if data.dtype.itemsize > 1 or "float" in data.dtype.name or not np.all(np.isfinite(scale.astype(np.float32))):
        return None
    axis, block = int(call.attrs["axis"]), int(call.attrs["block_size"])
    wide = data.astype(np.int16)
    if transposed:
        wide, axis = wide.T, 1 - axis
        scale, zero = (each.T if each.ndim == 2 else each for each in (scale, zero))
    spread = _of_blocks(wide.shape, scale, axis, block)
    if spread is None:
        return None
    zeros = zero.astype(np.float32) if block else zero.astype(np.float32).reshape(-1, 1)
    return _packed(wide, spread, np.broadcast_to(zeros, spread.shape), block or wide.shape[1])


def _array(expr: Expr, scope: Scope) -> Array | None:
    """Return the elements of a constant; integers narrower than a byte are a conversion of one."""
    narrow = scope.call(expr, CONVERT)
    if narrow is not None and dtype_of(narrow) in ("int4", "uint4", "int2", "uint2"):
        return scope.constant(narrow.args[0])
    return scope.constant(expr)


def _of_blocks(shape: tuple[int, ...], scale: Array, axis: int, block: int) -> Array | None:
    """Return scales [N, blocks] of a weight [N, K], None where they stand otherwise."""
    wide = scale.astype(np.float32)
    if block:
        return wide if axis == 1 else None
    if wide.size == 1:
        return np.broadcast_to(wide.reshape(1, 1), (shape[0], 1))
    return wide.reshape(-1, 1) if axis == 0 else None


def _packed(data: Array, scale: Array, zero: Array, block: int) -> Codes | None:
    """Return what is stored of integers [N, K]: in four bits where they are of sixteen values, else in eight."""
    low, high = int(data.min()), int(data.max())
    bits = 4 if (low >= 0 and high < 16 or low >= -8 and high < 8) and data.shape[1] % NIBBLES == 0 else 8
    bits = 8 if bits == 4 and block % NIBBLES and scale.shape[1] > 1 else bits
    middle = 0 if high < 1 << (bits - 1) else 1 << (bits - 1)
    zero = zero - np.float32(middle)
    offset = -zero * scale if zero.any() else None
    return Codes(
        constant(packed((data - middle).astype(np.int8), bits)),
        _narrow(scale),
        None if offset is None else constant(offset.astype(np.float32)),
        bits,
        block,
    )


def _narrow(scale: Array) -> Expr:
    """Return scales in 16 bits where bfloat16 holds each of them."""
    whole = np.ascontiguousarray(scale, np.float32).view(np.uint32)
    return constant(scale if (whole & 0xFFFF).any() else (whole >> 16).astype(np.uint16))
