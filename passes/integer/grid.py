"""Grids with one scale, as rewrites read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...tvm_names import dtype_of, shape_of
from ..expressions import constant
from ..quantization import DEQUANTIZE, dequantize, quantize

if TYPE_CHECKING:
    from tvm.relax import Call, Expr

    from ..scope import Scope

BYTES = ("int8", "uint8")


@dataclass(frozen=True)
class Grid:
    """The scales and zero points of a quantize or dequantize, all known; ``scale`` and ``zero`` of one shape.

    Attributes:
        scale: float32, of shape [] or, one for each index of ``axis``, [n].
        zero: int64, of the same shape.
        dtype: the integers' element type.
    """

    scale: NDArray[Any]
    zero: NDArray[Any]
    axis: int
    dtype: str

    @staticmethod
    def of(call: Call, scope: Scope) -> Grid | None:
        """Return the grid of a call; None where it is of blocks, not of bytes, or only a run knows it."""
        scale, zero = (scope.constant(each) for each in call.args[1:])
        dtype = dtype_of(call.args[0]) if call.op.name == f"relax.{DEQUANTIZE}" else dtype_of(call)
        if scale is None or zero is None or call.attrs["block_size"] or dtype not in BYTES:
            return None
        shape = () if scale.size == 1 else scale.shape
        wide = scale.astype(np.float32).reshape(shape)
        if scale.dtype != np.float32 or not np.all(np.isfinite(wide)) or not np.all(wide > 0):
            return None
        return Grid(wide, zero.astype(np.int64).reshape(shape), int(call.attrs["axis"]), dtype)

    @property
    def single(self) -> bool:
        """Whether there is one scale."""
        return self.scale.ndim == 0

    def same(self, other: Grid) -> bool:
        """Return whether two grids with one scale are equal."""
        return (
            self.single
            and other.single
            and self.dtype == other.dtype
            and bool(self.scale == other.scale and self.zero == other.zero)
        )

    def dequantized(self, data: Expr) -> Expr:
        """Return what integers on this grid stand for."""
        return dequantize(data, constant(self.scale), constant(self.zero.astype(self.dtype)), "float32", self.axis)

    def quantized(self, data: Expr) -> Expr:
        """Return a float32 tensor on this grid."""
        zero = constant(self.zero.astype(self.dtype))
        return quantize(data, constant(self.scale), zero, self.dtype, self.axis)

    def spread(self, values: NDArray[Any], rank: int) -> NDArray[Any]:
        """Return one value, or one for each index of the axis, in a shape that broadcasts to a tensor of this rank."""
        return values if values.ndim == 0 else values.reshape(-1, *[1] * (rank - 1 - self.axis))


def dequantized_operand(expr: Expr, scope: Scope) -> tuple[Expr, Grid] | None:
    """Return the bytes and the grid of a float32 tensor that a dequantize makes, else None."""
    call = scope.call(expr, DEQUANTIZE)
    grid = Grid.of(call, scope) if call is not None else None
    if call is None or grid is None or dtype_of(call) != "float32":
        return None
    return call.args[0], grid


def rank(expr: Expr) -> int:
    """Return how many axes a tensor has."""
    return len(shape_of(expr))
