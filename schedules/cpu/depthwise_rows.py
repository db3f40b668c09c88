"""Depthwise convolution by tiles of several rows, for processors that would spend their instructions on loads.

A row of data lies under the windows of neighbouring rows of the output: a tile of two of them loads four rows of data
where single rows load six. Everything within a tile is unrolled, so that weights stay in registers from tile to tile
and the first product of a sum is stored where another writer adds it to zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tvm import tirx
from tvm.ir import PointerType, PrimType
from tvm.tirx.script.builder import ir as T

from ...targets.target import Target
from ..kernel import Kernel
from .depthwise_writer import DepthwiseWriter, as_float
from .register_tile import RegisterTile
from .window import Convolution, Place

Expr = Any


class DepthwiseRowsWriter(DepthwiseWriter):
    """Sums a tile of ``tile_rows`` rows, one below the other; rows that are left over make tiles of one row."""

    def __init__(self, kernel: Kernel, conv: Convolution, target: Target, tile_rows: int) -> None:
        super().__init__(kernel, conv, target)
        self.tile_rows = tile_rows
        self.height = tile_rows

    def accumulators(self, rows: int, vectors: int) -> RegisterTile:
        """Return the sums of a tile, those of its first row first."""
        return super().accumulators(rows * self.tile_rows, vectors)

    def rows(self, place: Place, count: Expr, tiles: list[tuple[int, int]]) -> None:
        """Emit so many rows of tiles (column, size) from a place on: whole tiles, then single rows."""
        whole = count // self.tile_rows
        self._rows_of(self.tile_rows, place, whole, tiles)
        self._rows_of(1, place._replace(row=place.row + whole * self.tile_rows), count % self.tile_rows, tiles)

    def _rows_of(self, height: int, place: Place, count: Expr, tiles: list[tuple[int, int]]) -> None:
        self.height = height
        with T.serial(0, count) as at:
            self._row(place._replace(row=place.row + at * height), tiles)

    def claims_output(self) -> bool:
        """Leave the lines of the output alone: where instructions are scarce, fetching them costs more of them."""
        return False

    def begin_tile(self, size: int) -> None:
        """Begin sums that their first products set."""
        self.sums.rows = self.height * size

    def logical(self, place: Place, pixel: Expr, vector: Expr, lane: Expr) -> list[Expr]:
        """Return the output's indices of a sum, its number counted through the rows of the tile."""
        y, x = place.row + pixel // self._size, place.column + pixel % self._size
        return [place.image, (place.block + vector) * self.conv.lanes + lane, y, x]

    def sum_tile(self, place: Place, clipped: bool) -> None:
        """Take the tile's rows of data one by one, first those that are always there, and their columns one by one."""
        conv = self.conv
        rows = self._data_rows()
        first = place.column * conv.strides[1] - conv.left
        fresh = set(range(self.sums.rows))
        for offset in sorted(rows, key=lambda each: (self._may_clip(each), each)):
            if self._may_clip(offset):
                self.sums.zero(sorted(fresh))
                fresh.clear()
            with self._where_inside(place, offset):
                data = self.row_data[offset]
                for column, tap, x in self._products(place, clipped):
                    for y, tap_row in rows[offset]:
                        self._product(data, first + column, place.block, (tap_row, tap), y * self._size + x, fresh)
        self.sums.zero(sorted(fresh))

    def _data_rows(self) -> dict[int, list[tuple[int, int]]]:
        """Return the (row of the tile, row of the kernel) that meet each row of data, counted from the tile's first."""
        conv = self.conv
        rows: dict[int, list[tuple[int, int]]] = {}
        for y in range(self.height):
            for tap_row in range(conv.kernel[0]):
                rows.setdefault(y * conv.strides[0] + tap_row * conv.dilation[0], []).append((y, tap_row))
        return rows

    @property
    def _size(self) -> int:
        """Columns of the tile."""
        return self.sums.rows // self.height

    def _products(self, place: Place, clipped: bool) -> list[tuple[int, int, int]]:
        """Return (column of data, column of the kernel, column of the tile), in the order of the first."""
        conv = self.conv
        return sorted(
            (x * conv.strides[1] + tap * conv.dilation[1], tap, x)
            for tap in range(conv.kernel[1])
            for x in range(self._size)
            if not clipped or conv.tap_inside(place.column + x, tap)
        )

    def _row_data(self, place: Place, offset: int) -> Any:
        """Return a row of data that no other row's address is derived from.

        ARM's loads of pairs reach a kilobyte far, which the rows of a tile lie apart. LLVM takes all addresses as
        distances from one unless it is kept from knowing that they are.
        """
        row = place.row * self.conv.strides[0] - self.conv.top + offset
        start = tirx.address_of(self.data[(place.image, place.block, row, 0, 0)])
        kind = PointerType(PrimType(self.data.dtype))
        pointer = T.bind(tirx.call_llvm_intrin(kind, "llvm.launder.invariant.group", start), kind)
        return T.decl_buffer((self.conv.width * self.conv.lanes,), self.data.dtype, data=pointer)

    def _row(self, place: Place, tiles: list[tuple[int, int]]) -> None:
        """Emit a row of tiles."""
        self.row_data = {offset: self._row_data(place, offset) for offset in self._data_rows()}
        super()._row(place, tiles)

    def _product(self, data: Any, column: Expr, block: Expr, tap: tuple[int, int], pixel: int, fresh: set[int]) -> None:
        add = self.sums.multiply if pixel in fresh else self.sums.multiply_add
        add(
            lambda _, lane: as_float(data[column * self.conv.lanes + lane]),
            lambda _, lane: as_float(self.weight[(block, 0, *tap, lane)]),
            [pixel],
        )
        fresh.discard(pixel)

    def _may_clip(self, offset: int) -> bool:
        """Return whether a row of data, counted from the tile's first, lies outside the image under some tile."""
        conv = self.conv
        last = (conv.out_height - self.height) * conv.strides[0] - conv.top + offset
        return offset < conv.top or last >= conv.height

    @contextmanager
    def _where_inside(self, place: Place, offset: int) -> Iterator[None]:
        conv = self.conv
        row = place.row * conv.strides[0] - conv.top + offset
        last = (conv.out_height - self.height) * conv.strides[0] - conv.top + offset
        conditions = [row >= 0] * (offset < conv.top) + [row < conv.height] * (last >= conv.height)
        if not conditions:
            yield
            return
        with T.If(tirx.all(*conditions)), T.Then():
            yield
