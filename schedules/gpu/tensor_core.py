"""Tiles in shared memory whose products tensor cores make: factors rounded to tf32 (10 bits of fraction), float32 sums.

A warp holds 16 x 32 of the tile as four results of the instruction mma.m16n8k8, whose operands lie in the warp's
registers as NVIDIA's PTX manual draws them: with lane = 4 g + t, a thread has rows g and g + 8 of the left operand at
depths t and t + 4, column g of the right one at the same depths, and columns 2 t and 2 t + 1 of rows g and g + 8 of the
result.
"""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...targets.target import Target
from ..kernel import Kernel
from ..template import NotApplicable
from .block_tile import DEPTH, Tile, write_shared_product
from .tile import ROWS, Product

Expr = Any

_WARP = 32
#: Columns of a warp, and rows, columns and depth of an instruction.
_COLUMNS = 32
_M, _N, _K = 16, 8, 8
#: The first compute capability that has tf32.
_FIRST = 80


def write_tensor_core_product(kernel: Kernel, product: Product, target: Target) -> None:
    """Emit one launch, a block of threads for each tile.

    Raises NotApplicable where the device has no tf32, or most of every tile would lie outside of the result.
    """
    if int(str(dict(target.tvm)["arch"]).removeprefix("sm_")) < _FIRST:
        raise NotApplicable
    write_shared_product(kernel, product, target, TensorCoreTile)


class TensorCoreTile(Tile):
    """A tile whose warps multiply together."""

    def shared(self, value: Expr) -> Expr:
        """Return the element rounded to tf32, once for all products that it is in."""
        return T.call_extern("float32", "tw_tf32", value)

    def place(self, down: Expr, across: Expr) -> tuple[Expr, Expr]:
        """Return the row and column of element ``across`` of the result of instruction ``down``."""
        row, column, group, four = self._warp()
        return row + group + across // 2 * 8, column + down * _N + four * 2 + across % 2

    def multiply(self, left: Any, right: Any, sums: Any) -> None:
        """Emit the products of two slabs, which all threads have loaded."""
        row, column, group, four = self._warp()
        with T.serial(0, DEPTH // _K) as step:
            depths = [(step * _K + four + more) * self.stride for more in (0, 4)]
            factors = [left[depth + row + group + more] for depth in depths for more in (0, 8)]
            for at in range(ROWS):
                others = [right[depth + column + at * _N + group] for depth in depths]
                T.evaluate(T.call_extern("int32", "tw_mma_tf32", T.address_of(sums[at * 4]), *factors, *others))

    def _warp(self) -> tuple[Expr, Expr, Expr, Expr]:
        """Return the warp's first row and column in the tile, and g and t of the thread's lane."""
        wide = self.edge // _COLUMNS
        warp, lane = tirx.floordiv(self.thread, _WARP), tirx.floormod(self.thread, _WARP)
        return warp // wide * _M, warp % wide * _COLUMNS, lane // 4, lane % 4
