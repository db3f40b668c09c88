"""Direct convolution of bytes: unsigned data, signed weights, int32 sums, with its epilogue.

Data [N, C/b, H, W, b] (b the float32 lanes of a vector, or 4 for the few channels of a stem), weights
[O/b, KH, KW, C/4, b, 4], output [N, O/b, OH, OW, b]. Tiles and the order of loops are those of the direct convolution
in single precision (``conv2d.py``); the taps are outside the channels, so that the weights stream in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...layout import Layout
from ...targets.target import Target
from ...workload import Workload
from ..kernel import Kernel, balanced, writing
from ..template import NotApplicable, template
from ..vectors import flat_view
from .conv2d import blocked, epilogue_layouts
from .depthwise_conv2d import BYTES
from .integer_tile import STEP, IntegerTile, four_bytes
from .register_tile import prefetch, tile_shape
from .window import Convolution, Place, WindowWriter

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for blocked data and for weights of four input channels beside each other."""
    _require_bytes(work)
    lanes, channels = target.lanes(), work.inputs[0].shape[1]
    data = blocked(lanes if channels > STEP else STEP)
    weight = Layout("OIHW", f"OHWI{lanes}o{STEP}i")
    inputs = (data, weight, *epilogue_layouts(work, blocked(lanes)))
    return work.with_layouts(inputs, (blocked(lanes),))


@template("conv2d", arch="x86", dtypes=("uint8", "int8", "int32", "float32"), layouts=layouts)
def integer_conv2d(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Keep pixels x output channels in registers while taps and input channels stream past, four at a time."""
    _require_bytes(work)
    if work.inputs[0].layout is None or work.inputs[1].layout is None or work.output.layout is None:
        raise NotApplicable
    conv = Convolution.of(work)
    rows, columns = tile_shape(target)
    alone = conv.out_blocks > 1 and min(size for size, _ in balanced(conv.out_blocks, columns)) == 1
    vectors = knobs.choice("vectors", (1, 2, 3, 4), default=columns + 1 if alone else min(columns, conv.out_blocks))
    tile = knobs.choice("tile", range(1, 16), default=rows * columns // max(vectors, 2))
    with writing(work) as kernel:
        _IntegerWriter(kernel, conv.merged(tile), target).write(vectors, tile)
    assert kernel.function is not None
    return kernel.function


def _require_bytes(work: Workload) -> None:
    if tuple(each.dtype for each in work.inputs[:2]) != BYTES or work.attr("groups") != 1:
        raise NotApplicable


class _IntegerWriter(WindowWriter):
    """Sums over taps and steps of four input channels."""

    def __init__(self, kernel: Kernel, conv: Convolution, target: Target) -> None:
        super().__init__(kernel, conv, target)
        self.steps = -(-conv.in_channels // STEP)
        layout = kernel.work.inputs[0].layout
        assert layout is not None
        self.steps_of_block = layout.blocks[1] // STEP
        self.flat = flat_view(self.weight)

    def accumulators(self, rows: int, vectors: int) -> IntegerTile:
        """Return int32 sums."""
        return IntegerTile(rows, vectors, self.conv.lanes, self.target)

    def sum_tile(self, place: Place, clipped: bool) -> None:
        """Loop over the window and the steps; at a border over the window's columns one by one."""
        low, high = self.conv.tap_rows(place.row)
        with T.serial(0, high - low) as clipped_row:
            if not clipped:
                with T.serial(0, self.conv.kernel[1]) as column:
                    self._channels(place, (low + clipped_row, column), None)
                return
            for tap in range(self.conv.kernel[1]):
                pixels = self.pixels_inside(place, tap)
                if pixels:
                    self._channels(place, (low + clipped_row, tap), pixels)

    def _channels(self, place: Place, taps: tuple[Expr, Expr], pixels: list[int] | None) -> None:
        """Loop over blocks of input channels; the last may hold fewer steps."""
        full, rest = divmod(self.steps, self.steps_of_block)
        with T.serial(0, full) as block:
            self._block(place, taps, block, self.steps_of_block, pixels)
        if rest:
            self._block(place, taps, full, rest, pixels)

    def _block(self, place: Place, taps: tuple[Expr, Expr], block: Expr, steps: int, pixels: list[int] | None) -> None:
        conv, vectors = self.conv, self.sums.vectors
        height, width = conv.kernel
        tap = taps[0] * width + taps[1]
        of_a_turn = height * width * -(-self.steps // self.steps_of_block)
        turn = place.turn * of_a_turn + tap * -(-self.steps // self.steps_of_block) + block
        panel = vectors * height * width * self.steps
        prefetch(self.weight, [place.block + vectors, 0, 0, 0, 0, 0], 3, panel, turn, self.turns * of_a_turn)
        line = conv.lanes * STEP
        first = tap * self.steps + block * self.steps_of_block
        with T.unroll(0, steps) as step:
            self.sums.multiply_add(
                lambda pixel, lane: four_bytes(
                    self.data, [place.image, block, *self.data_pixel(place, pixel, *taps)], step * STEP
                ),
                lambda vector, lane: self.flat[
                    tirx.Ramp(((place.block + vector) * height * width * self.steps + first + step) * line, 1, line)
                ],
                pixels,
            )
