"""Direct convolution in blocked layout, with its epilogue.

Data [N, IC/b, H, W, b] (or planar [N, IC, H, W] for the few channels of a stem), weights [OC/b, IC/b, KH, KW, b, b],
output [N, OC/b, OH, OW, b], b the lanes of a vector. A register tile holds a run of output pixels of one row times one
or two blocks of output channels. A pointwise convolution runs over the pixels of the whole image.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...layout import Layout
from ...targets.target import Target
from ...workload import Workload
from ..kernel import Kernel, balanced, starts, unrolled_loop, writing
from ..low_precision import dot, multiplies_pairs
from ..template import CPUS, NotApplicable, template
from ..vectors import read_often
from .register_tile import (
    EXACT_DEPTH,
    MEMORY_BYTES_PER_CYCLE,
    MULTIPLY_ADDS_PER_CYCLE,
    multiplies_by_lane,
    prefetch,
    tile_shape,
)
from .window import Convolution, Place, WindowWriter

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any


def blocked(lanes: int) -> Layout:
    """Return the layout of activations: NCHW with channels in blocks of one vector."""
    return Layout("NCHW", f"NCHW{lanes}c")


def epilogue_layouts(work: Workload, layout: Layout) -> tuple[Layout | None, ...]:
    """Return how the epilogue's operands should lie when the output lies in ``layout``: whatever has channels, too.

    Raises NotApplicable for an operand of lower rank with channels that the block does not divide.
    """
    _, channels, *_ = work.output.shape
    chosen: list[Layout | None] = []
    for operand in work.inputs[work.anchor_arity :]:
        if len(operand.shape) == 4:
            chosen.append(layout if operand.shape[1] == channels else None)
            continue
        if len(operand.shape) == 3 and operand.shape[0] == channels and channels % layout.blocks[1]:
            raise NotApplicable
        chosen.append(None)
    return tuple(chosen)


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for blocked activations and weights; a stem of few channels keeps planar data."""
    lanes = target.lanes()
    groups = work.attr("groups")
    out_channels, in_channels, *_ = work.inputs[1].shape
    if groups > 1 and (in_channels % lanes or (out_channels // groups) % lanes):
        raise NotApplicable
    planar = groups == 1 and in_channels * 2 <= lanes
    data = None if planar else blocked(lanes)
    weight = Layout("OIHW", f"OIHW{lanes}o" if planar else f"OIHW{lanes}i{lanes}o")
    if not planar and multiplies_pairs(work, target):
        weight = Layout("OIHW", f"OHWI{lanes}o2i")
    inputs = (data, weight, *epilogue_layouts(work, blocked(lanes)))
    return work.with_layouts(inputs, (blocked(lanes),))


def multiply_adds(work: Workload) -> int:
    """Return the multiply-adds of scalars, without those of taps on padding."""
    conv = Convolution.of(work)
    tap_rows = sum(conv.row_tap_inside(row, tap) for row in range(conv.out_height) for tap in range(conv.kernel[0]))
    tap_columns = sum(conv.tap_inside(column, tap) for column in range(conv.out_width) for tap in range(conv.kernel[1]))
    return conv.batch * tap_rows * tap_columns * conv.in_channels * work.output.shape[1]


def products(work: Workload, target: Target) -> float:
    """Return estimated cycles of the multiply-adds of vectors."""
    conv = Convolution.of(work)
    low = not conv.planar and multiplies_pairs(work, target)
    vectors = multiply_adds(work) // work.output.shape[1] * conv.groups * conv.out_blocks
    return vectors / MULTIPLY_ADDS_PER_CYCLE / (2 if low else 1)


def cost(work: Workload, target: Target) -> float:
    """Return estimated cycles: multiply-adds of vectors, and weights that come from memory."""
    conv = Convolution.of(work)
    blocks = conv.groups * conv.out_blocks
    low = not conv.planar and multiplies_pairs(work, target)
    weights = (
        (2 if low else 4)
        * conv.kernel[0]
        * conv.kernel[1]
        * conv.in_channels
        * blocks
        * conv.lanes
        / MEMORY_BYTES_PER_CYCLE
    )
    return products(work, target) + weights


@template("conv2d", arch=CPUS, dtypes=("float32",), layouts=layouts, cost=cost, symbolic=True)
def direct_conv2d(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Keep pixels x output channels in registers while input channels and taps stream past.

    Order: image > part of the rows > tile of output channels, or tile > image > part (``partition.py``), then row > run
    of columns > input block > tap > input channel. A part's data stays in the second-level cache while all output
    channels pass over it, or a channel tile's weights stay while the images pass.
    """
    if (
        work.attr("groups") == work.inputs[0].shape[1] > 1
        or type(work.inputs[1].layout) is not Layout
        or work.output.layout is None
    ):
        raise NotApplicable
    conv = Convolution.of(work)
    rows, columns = tile_shape(target)
    # A wide kernel's taps are unrolled, and neighbours share what they load: a smaller tile leaves registers for that.
    wide = conv.kernel[1] > 3
    sums = rows * columns * 2 // 3 if wide else rows * columns
    default = _square_vectors(conv.out_blocks, sums) if wide else _vectors(conv.out_blocks, columns)
    vectors = knobs.choice("vectors", (1, 2, 3, 4), default=default)
    tile = knobs.choice("tile", range(1, 16), default=sums // max(vectors, 2))
    with writing(work) as kernel:
        DirectWriter(kernel, conv.merged(tile), target).write(vectors, tile)
    assert kernel.function is not None
    return kernel.function


def _vectors(blocks: int, columns: int) -> int:
    """Return how many blocks a tile has: one more than ``columns`` where else a tile of one would be left over."""
    alone = blocks > 1 and min(size for size, _ in balanced(blocks, columns)) == 1
    return columns + 1 if alone else min(columns, blocks)


def _square_vectors(blocks: int, sums: int) -> int:
    """Return how many blocks a tile of unrolled taps has: the nearer to a square, the fewer its loads."""
    dividing = [each for each in range(2, math.isqrt(sums) + 1) if blocks % each == 0]
    return max(dividing, default=2)


class DirectWriter(WindowWriter):
    """Sums over input channels and taps, one input channel's element times vectors of output channels.

    Attributes:
        low: whether a step takes two input channels, a pair of bfloat16, from weights [OC/b, KH, KW, IC/2, b, 2].
    """

    def __init__(self, kernel: Kernel, conv: Convolution, target: Target) -> None:
        super().__init__(kernel, conv, target)
        self.low = not conv.planar and multiplies_pairs(kernel.work, target)
        if self.low:
            self.data, self.weight = self.data.pairs(), self.weight.pairs()
            self.multiply_add = dot
        else:
            self.data = read_often(self.data, conv.lanes, conv.out_blocks * conv.kernel[0] * conv.kernel[1])

    def sum_blocks(self, place: Place, tap: int | None, pixels: list[int] | None) -> None:
        """Loop over blocks of input channels; the last may hold fewer channels than a vector."""
        step = 1 if self.conv.planar else self.conv.lanes
        full, rest = divmod(self.conv.in_channels, step)
        taps = self.conv.kernel[0] * (self.conv.kernel[1] if tap is None else 1)
        for first, size, count in starts(balanced(full, max(1, EXACT_DEPTH // (taps * step)))) if full else []:
            with T.serial(0, count) as part:
                with T.serial(0, size) as in_block:
                    self._window(place, part * size + in_block + first, step, tap, pixels)
                self.sums.flush()
        if rest:
            self._window(place, full, rest, tap, pixels)

    def _window(self, place: Place, in_block: Expr, channels: int, tap: int | None, pixels: list[int] | None) -> None:
        self.each_tap(place, tap, lambda taps: self._channels(place, in_block, channels, taps, pixels))

    def _channels(
        self, place: Place, in_block: Expr, channels: int, taps: tuple[Expr, Expr], pixels: list[int] | None
    ) -> None:
        lanes = self.conv.lanes
        if self.low:
            channels, lanes = -(-channels // 2), lanes // 2
        unrolled = min(4, channels)
        for start, steps, unroll in unrolled_loop(channels, unrolled):
            with T.serial(0, steps) as outer:
                if not self.conv.planar and not start:
                    self._prefetch(place, in_block, taps, outer, lanes // unrolled)
                self._steps(place, in_block, outer * unroll + start, unroll, taps, pixels)

    def _prefetch(self, place: Place, in_block: Expr, taps: tuple[Expr, Expr], outer: Expr, steps: int) -> None:
        """Fetch weights of the next channel tile, evenly over the steps of this one."""
        conv, vectors = self.conv, self.sums.vectors
        height, width = conv.kernel
        blocks = -(-conv.in_channels // conv.lanes)
        step = ((in_block * height + taps[0]) * width + taps[1]) * steps + outer
        of_a_turn = blocks * height * width * steps
        panel = vectors * blocks * height * width * conv.lanes // (2 if self.low else 1)
        first = [place.block + vectors, 0, 0, 0, 0, 0]
        prefetch(self.weight, first, 3 if self.low else 4, panel, place.turn * of_a_turn + step, self.turns * of_a_turn)

    def _steps(
        self,
        place: Place,
        in_block: Expr,
        first: Expr,
        count: int,
        taps: tuple[Expr, Expr],
        pixels: list[int] | None,
    ) -> None:
        """Add the products of ``count`` channels (of a pair, where pairs are multiplied) from ``first`` on."""
        blocks = -(-self.conv.in_channels // self.conv.lanes)
        outer = in_block if self.conv.planar else place.group * blocks + in_block

        def element(pixel: Expr, at: Expr) -> Expr:
            inner = [] if self.conv.planar else [first + at]
            return self.data[(place.image, outer, *self.data_pixel(place, pixel, *taps), *inner)]

        def weight(vector: int, at: Expr, lane: Expr) -> Expr:
            return self._weight(place.block + vector, in_block, first + at, taps, lane)

        by_lane = not self.conv.planar and not self.low and multiplies_by_lane(self.target)
        self.sums.steps(count, element, weight, pixels, by_lane=by_lane)

    def _weight(self, block: Expr, in_block: Expr, channel: Expr, taps: tuple[Expr, Expr], lane: Expr) -> Expr:
        if self.low:
            return self.weight[(block, *taps, in_block * (self.conv.lanes // 2) + channel, lane, 0)]
        inner = [] if self.conv.planar else [channel]
        return self.weight[(block, in_block, *taps, *inner, lane)]
