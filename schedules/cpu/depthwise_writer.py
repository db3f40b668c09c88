"""The sums of a depthwise convolution, one row of the output at a time."""

from __future__ import annotations

from typing import Any

from tvm.tirx.script.builder import ir as T

from ..bindings import dtype_of
from .register_tile import multiplies_by_lane
from .window import Place, WindowWriter

Expr = Any


class DepthwiseWriter(WindowWriter):
    """Sums over taps, a vector of channels' elements times a vector of their weights, in single precision."""

    def rows_outside(self, channel_tiles: int, parts: int) -> bool:
        """Deal as the pointwise convolution before it does: weights and data are each read once, whoever has them."""
        conv = self.conv
        return conv.batch * conv.height * conv.width >= channel_tiles * conv.lanes

    def sum_tile(self, place: Place, clipped: bool) -> None:
        """Loop over the kernel's rows, its columns unrolled."""
        low, high = self.conv.tap_rows(place.row)
        forward_only = multiplies_by_lane(self.target)
        with T.serial(0, high - low) as clipped_row:
            for tap in range(self.conv.kernel[1]):
                pixels = self.pixels_inside(place, tap) if clipped else None
                if pixels is None or pixels:
                    self._tap(place, low + clipped_row, tap, clipped_row if forward_only else None, pixels)

    def _tap(self, place: Place, tap_row: Expr, tap: int, clipped_row: Expr | None, pixels: list[int] | None) -> None:
        self.sums.multiply_add(
            lambda pixel, lane: as_float(
                self.data[(place.image, place.block, *self.data_pixel(place, pixel, tap_row, tap, clipped_row), lane)]
            ),
            lambda vector, lane: as_float(self.weight[place.block, 0, tap_row, tap, lane]),
            pixels,
        )

    def result(self, pixel: Expr, vector: Expr, lane: Expr) -> Expr:
        """Return a sum in the element type that the anchor of the workload has."""
        total = self.sums.sum(pixel, vector, lane)
        return total if self.data.dtype == "float32" else total.astype("int32")


def as_float(value: Expr) -> Expr:
    """Return a number in single precision."""
    return value if dtype_of(value) == "float32" else value.astype("float32")
