"""Depthwise convolution in blocked layout, with its epilogue.

Data [N, C/b, H, W, b], weights [C/b, 1, KH, KW, b], output [N, C/b, OH, OW, b], b the lanes of a vector: every lane is
a channel of its own. A tile of output pixels of one row stays in registers; the taps of a kernel's row are unrolled, so
that a column of data is loaded once for all taps that read it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...layout import Layout
from ...targets.target import Target
from ...workload import Workload
from ..bindings import dtype_of
from ..kernel import writing
from ..template import CPUS, NotApplicable, template
from .conv2d import blocked, epilogue_layouts
from .register_tile import multiplies_by_lane, tile_shape
from .window import Convolution, Place, WindowWriter

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any
#: Data and weights of integer convolutions.
BYTES = ("uint8", "int8")
#: Products of so many bytes sum exactly in single precision: each is under 2^15, their sum under 2^24.
EXACT_TAPS = 512
#: Pixels of a tile where rows of registers do not wait for lanes: most images are multiples of 14 or 7 wide.
PIXELS_BY_LANE = 14


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for blocked activations and one vector of weights for each tap."""
    _require_depthwise(work)
    lanes = target.lanes()
    weight = Layout("OIHW", f"OIHW{lanes}o")
    inputs = (blocked(lanes), weight, *epilogue_layouts(work, blocked(lanes)))
    return work.with_layouts(inputs, (blocked(lanes),))


@template("conv2d", arch=CPUS, dtypes=("float32", "uint8", "int8", "int32"), layouts=layouts, symbolic=True)
def depthwise_conv2d(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Keep a run of pixels of one channel block in registers while the window streams past.

    Order: image > part of the rows > channel block, or the other way round > row > run of columns > kernel row > tap.
    """
    _require_depthwise(work)
    if work.inputs[1].layout is None or work.output.layout is None:
        raise NotApplicable
    conv = Convolution.of(work, depthwise=True)
    rows, _ = tile_shape(target)
    tile = knobs.choice("tile", range(1, 16), default=PIXELS_BY_LANE if multiplies_by_lane(target) else rows)
    with writing(work) as kernel:
        DepthwiseWriter(kernel, conv, target).write(1, tile)
    assert kernel.function is not None
    return kernel.function


def _require_depthwise(work: Workload) -> None:
    channels = work.inputs[0].shape[1]
    if work.attr("groups") != channels or work.inputs[1].shape[0] != channels or channels == 1:
        raise NotApplicable
    kinds = (work.inputs[0].dtype, work.inputs[1].dtype)
    if kinds != ("float32", "float32") and (kinds != BYTES or math.prod(work.inputs[1].shape[2:]) > EXACT_TAPS):
        raise NotApplicable


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
