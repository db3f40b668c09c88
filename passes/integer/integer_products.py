"""Convolutions and matrix products of dequantized tensors are computed on the bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from ...tvm_names import dtype_of, expressions, shape_of, with_plain_dims
from ...workload import TensorType, Workload
from ..expressions import constant, ints, operator_name
from ..fusion.anchors import anchor_of
from ..rewrite import RewritePass, register_pass
from .grid import dequantized_operand, rank
from .unsigned_activations import SHIFT

if TYPE_CHECKING:
    from tvm.relax import Call, Expr

    from ..scope import Scope


@dataclass(frozen=True)
class _Integers:
    """An operand ``(data - zero) * scale``; without a scale it is the integers' own difference in int32."""

    data: Expr
    zero: NDArray[Any] | Expr
    scale: NDArray[Any] | None
    axis: int = 0


@register_pass("integer-products")
@dataclass(frozen=True)
class IntegerProducts(RewritePass):
    """Sum products of bytes in int32 and scale the sums.

    conv2d(dequantize(x, sx, zx), dequantize(w, sw, 0))
        -->  (conv2d(x, w) - zx * sum(w)) * (sx * sw),   x padded with zx

    The same for a product of int32 numbers that are bytes less a zero point. Weights are constants whose differences
    from their zero points are signed bytes.

    Attributes:
        computes: whether some template makes a kernel of a workload.
    """

    computes: Callable[[Workload], bool]
    roots = ("nn.conv2d", "matmul")

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the scaled integer product."""
        data = _data(value.args[0], scope)
        weight = _weight(value.args[1], scope) if data else None
        if data is None or weight is None or (data.scale is None) != (weight[1] is None):
            return None
        shape = _Convolution if operator_name(value) == "nn.conv2d" else _Product
        found = shape(value, data, *weight)
        if not found.possible() or not self._has_kernel(found):
            return None
        return found.scaled(found.centred(scope))

    def _has_kernel(self, found: _Contraction) -> bool:
        data = relax.Var("data", relax.TensorType(expressions(found.data_shape()), "uint8"))
        product = with_plain_dims(relax.BlockBuilder().normalize(found.product(data)))
        anchor = anchor_of(product, lambda _: None)
        if anchor is None:
            return False
        inputs = tuple(TensorType(shape_of(each), dtype_of(each)) for each in anchor.operands)
        return self.computes(
            Workload(anchor.family, inputs, (TensorType(shape_of(product), "int32"),), anchor.attrs, len(inputs))
        )


class _Contraction:
    """A convolution or product of bytes and its corrections."""

    #: The axis of the weights that lies along the result's channels or columns.
    axis = 0

    def __init__(self, call: Call, data: _Integers, weight: NDArray[Any], scale: NDArray[Any] | None) -> None:
        self.call, self.data, self.weight, self.scale = call, data, weight, scale

    @property
    def has_zero(self) -> bool:
        """Whether the data's zero point is, or may be, another number than 0."""
        return not isinstance(self.data.zero, np.ndarray) or bool(self.data.zero)

    def possible(self) -> bool:
        """Return whether this can be computed on bytes."""
        raise NotImplementedError

    def data_shape(self) -> tuple[int, ...]:
        """Return the shape of the bytes that the product reads."""
        return shape_of(self.data.data)

    def product(self, data: Expr) -> Expr:
        """Return the int32 product of bytes."""
        raise NotImplementedError

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return numbers for each channel or column in a shape that broadcasts to the result."""
        raise NotImplementedError

    def padded(self, data: Expr) -> Expr:
        """Return the data with its zero point around it where the product would pad it with zeros."""
        return data

    def centred(self, scope: Scope) -> Expr:
        """Return the product of the data less its zero point."""
        product = self.product(self.padded(_unsigned(self.data.data)))
        if not self.has_zero:
            return product
        others = tuple(axis for axis in range(self.weight.ndim) if axis != self.axis)
        sums = self.spread(self.weight.astype(np.int64).sum(others))
        if isinstance(self.data.zero, np.ndarray):
            return relax.op.subtract(product, constant((sums * self.data.zero).astype(np.int32)))
        return relax.op.subtract(product, relax.op.multiply(constant(sums.astype(np.int32)), self.data.zero))

    def scaled(self, sums: Expr) -> Expr:
        """Return what the sums stand for."""
        if self.scale is None or self.data.scale is None:
            return sums
        scale = self.data.scale.astype(np.float32) * self.scale.astype(np.float32)
        return relax.op.multiply(relax.op.astype(sums, "float32"), constant(self.spread(scale)))


class _Convolution(_Contraction):
    def possible(self) -> bool:
        padded = any(ints(self.call.attrs.padding)) and self.has_zero
        return not padded or isinstance(self.data.zero, np.ndarray)

    def data_shape(self) -> tuple[int, ...]:
        batch, channels, height, width = shape_of(self.data.data)
        top, left, bottom, right = self._explicit()
        return batch, channels, height + top + bottom, width + left + right

    def _explicit(self) -> tuple[int, ...]:
        padding = ints(self.call.attrs.padding)
        return padding if self.has_zero else (0, 0, 0, 0)

    def padded(self, data: Expr) -> Expr:
        top, left, bottom, right = self._explicit()
        if not any((top, left, bottom, right)):
            return data
        assert isinstance(self.data.zero, np.ndarray)
        return relax.op.nn.pad(data, [0, 0, 0, 0, top, bottom, left, right], pad_value=float(self.data.zero))

    def product(self, data: Expr) -> Expr:
        attrs = self.call.attrs
        padding = (0, 0, 0, 0) if any(self._explicit()) else ints(attrs.padding)
        return relax.op.nn.conv2d(
            data,
            constant(self.weight),
            ints(attrs.strides),
            padding,
            ints(attrs.dilation),
            int(attrs.groups),
            "NCHW",
            "OIHW",
            out_dtype="int32",
        )

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        return values if values.ndim == 0 else values.reshape(-1, 1, 1)


class _Product(_Contraction):
    axis = 1

    def possible(self) -> bool:
        return self.weight.ndim == 2

    def product(self, data: Expr) -> Expr:
        return relax.op.matmul(data, constant(self.weight), out_dtype="int32")

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        return values


def _data(expr: Expr, scope: Scope) -> _Integers | None:
    """Return the left operand: a dequantized tensor with one scale, or bytes less one zero point."""
    found = dequantized_operand(expr, scope)
    if found is not None:
        data, grid = found
        zero = np.asarray(grid.zero + (SHIFT if grid.dtype == "int8" else 0))
        return _Integers(data, zero, grid.scale) if grid.single and rank(data) >= 2 else None
    return _difference(expr, scope)


def _difference(expr: Expr, scope: Scope) -> _Integers | None:
    """Return bytes less a zero point of one element, in int32."""
    zero: NDArray[Any] | Expr = np.zeros((), np.int64)
    call = scope.call(expr, "subtract")
    wide = expr
    if call is not None and dtype_of(call) == "int32":
        wide, point = call.args
        if any(dim != 1 for dim in shape_of(point)) or rank(point) > 1:
            return None
        known = scope.constant(point)
        zero = point if known is None else known.astype(np.int64).reshape(())
    cast = scope.call(wide, "astype")
    if cast is None or dtype_of(cast) != "int32" or dtype_of(cast.args[0]) not in ("int8", "uint8"):
        return None
    signed = dtype_of(cast.args[0]) == "int8"
    if signed:
        zero = zero + SHIFT if isinstance(zero, np.ndarray) else relax.op.add(zero, relax.const(SHIFT, "int32"))
    return _Integers(cast.args[0], np.asarray(zero) if isinstance(zero, np.ndarray | np.integer) else zero, None)


def _weight(expr: Expr, scope: Scope) -> tuple[NDArray[Any], NDArray[Any] | None] | None:
    """Return signed bytes and their scales, one or one for each channel or column; None for int32 constants' scales."""
    found = dequantized_operand(expr, scope)
    array = scope.constant(found[0] if found else expr)
    if array is None or (found is None and array.dtype != np.int32):
        return None
    scale: NDArray[Any] | None = None
    if found is not None:
        grid, axis = found[1], 0 if array.ndim == 4 else 1
        if not grid.single and grid.axis != axis:
            return None
        scale, array = grid.scale, array.astype(np.int32) - grid.spread(grid.zero, array.ndim).astype(np.int32)
    if array.ndim not in (2, 4) or array.min() < -128 or array.max() > 127:
        return None
    return array.astype(np.int8), scale


def _unsigned(data: Expr) -> Expr:
    """Return bytes as unsigned ones, 128 added to signed ones."""
    if dtype_of(data) == "uint8":
        return data
    return relax.op.astype(relax.op.add(relax.op.astype(data, "int32"), relax.const(SHIFT, "int32")), "uint8")
