"""Direct convolution in blocked layout, with its epilogue.

Data [N, IC/b, H, W, b] (or planar [N, IC, H, W] for the few channels of a stem), weights [OC/b, IC/b, KH, KW, b, b],
output [N, OC/b, OH, OW, b], b the lanes of a vector. A register tile holds a run of output pixels of one row times one
or two blocks of output channels. Padding is never stored or multiplied: rows clip the kernel's height at run time,
the tiles at the left and right border leave out the taps that fall outside. A pointwise convolution runs over the
pixels of the whole image as one row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...layout import Layout
from ...targets.target import Target
from ...workload import Workload
from ..kernel import Kernel, balanced, unrolled_loop, writing
from ..template import NotApplicable, template
from .register_tile import RegisterTile, tile_shape

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
    inputs = (data, weight, *epilogue_layouts(work, blocked(lanes)))
    return work.with_layouts(inputs, (blocked(lanes),))


@dataclass(frozen=True)
class _Convolution:
    """The convolution's geometry. Heights and widths are of one image; channels are of one group."""

    batch: int
    groups: int
    in_channels: int
    out_blocks: int
    height: int
    width: int
    out_height: int
    out_width: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    top: int
    left: int
    lanes: int
    planar: bool

    @staticmethod
    def of(work: Workload) -> _Convolution:
        data, weight = work.inputs[:2]
        groups = work.attr("groups")
        batch, _, height, width = data.shape
        out_channels, in_channels, *kernel = weight.shape
        _, _, out_height, out_width = work.output.shape
        assert work.output.layout and weight.layout
        lanes = work.output.layout.blocks[1]
        top, left, _, _ = work.attr("padding")
        return _Convolution(
            batch, groups, in_channels, -(-out_channels // groups // lanes), height, width, out_height, out_width,
            (kernel[0], kernel[1]), work.attr("strides"), work.attr("dilation"), top, left, lanes,
            data.layout is None,
        )  # fmt: skip

    def merged(self, limit: int) -> _Convolution:
        """Return a pointwise convolution over all pixels as rows of about one tile; any other convolution as it is."""
        same = (self.height, self.width) == (self.out_height, self.out_width)
        if self.kernel != (1, 1) or self.strides != (1, 1) or self.top or self.left or not same:
            return self
        pixels = self.height * self.width
        divisors = [each for each in range(1, pixels + 1) if pixels % each == 0]
        width = next((each for each in reversed(divisors) if limit // 2 < each <= limit), None)
        width = width or next((each for each in divisors if each > limit), pixels)
        rows = pixels // width
        return replace(self, height=rows, width=width, out_height=rows, out_width=width)

    def tap_inside(self, column: int, tap: int) -> bool:
        """Return whether a column of the output meets data under a column of the kernel."""
        return 0 <= column * self.strides[1] - self.left + tap * self.dilation[1] < self.width

    def all_inside(self, column: int, size: int) -> bool:
        """Return whether a run of output columns needs no clipping."""
        return self.tap_inside(column, 0) and self.tap_inside(column + size - 1, self.kernel[1] - 1)


@template("conv2d", arch="x86", dtypes=("float32",), layouts=layouts)
def direct_conv2d(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Keep pixels x output channels in registers while input channels and taps stream past.

    Order: image > chunk of rows > tile of output channels > row > run of columns > input block > tap > input channel.
    Chunk and channel tile are shared among threads; a chunk's data stays in the second-level cache while all output
    channels pass over it, a channel tile's weights stay while the chunk passes.
    """
    if work.inputs[1].layout is None or work.output.layout is None:
        raise NotApplicable
    conv = _Convolution.of(work)
    rows, columns = tile_shape(target)
    vectors = knobs.choice("vectors", (1, 2, 3, 4), default=min(columns, conv.out_blocks))
    # A wide kernel unrolls its taps at the borders: a smaller tile leaves registers for them.
    wide = conv.kernel[1] > 3
    tile = knobs.choice("tile", range(1, 29), default=min(rows, 8) if wide else rows * columns // max(vectors, 2))
    with writing(work) as kernel:
        _Writer(kernel, conv.merged(tile), target).write(vectors, tile)
    assert kernel.function is not None
    return kernel.function


class _Writer:
    """Emits one convolution. ``conv`` may see the image's pixels in other rows than the buffers do."""

    def __init__(self, kernel: Kernel, conv: _Convolution, target: Target) -> None:
        self.kernel, self.conv, self.target = kernel, conv, target
        self.data, self.weight = kernel.inputs[:2]
        self.image_width, self.data_width = kernel.work.output.shape[3], kernel.work.inputs[0].shape[3]

    def write(self, vectors: int, tile: int) -> None:
        """Emit the loops over images, chunks and channel tiles, one nest for each size of channel tile."""
        conv = self.conv
        first = 0
        for size, count in balanced(conv.out_blocks, vectors):
            rows = self._rows_of_a_chunk(count)
            chunks = -(-conv.out_height // rows)
            with T.parallel(0, conv.batch * conv.groups * chunks * count) as index:
                outer = index // count
                group, image = outer // chunks % conv.groups, outer // chunks // conv.groups
                block = group * conv.out_blocks + index % count * size + first
                start = outer % chunks * rows
                present = rows if conv.out_height % rows == 0 else tirx.min(rows, conv.out_height - start)
                self.sums = RegisterTile(tile, size, conv.lanes)
                with T.serial(0, present) as row:
                    self._row(image, group, block, start + row, tile)
            first += size * count

    def _rows_of_a_chunk(self, channel_tiles: int) -> int:
        """Return how many rows a chunk has: their data fits half the second-level cache, and there is work for all cores."""
        conv, facts = self.conv, self.target.facts
        row_bytes = 4 * conv.strides[0] * conv.width * conv.in_channels
        fitting = max(1, facts.l2_bytes // 2 // row_bytes)
        tasks = conv.batch * conv.groups * channel_tiles
        wanted = -(-4 * facts.cores // tasks) if facts.cores > 1 else 1
        chunks = max(-(-conv.out_height // fitting), min(wanted, conv.out_height))
        return -(-conv.out_height // chunks)

    def _row(self, image: Expr, group: Expr, block: Expr, row: Expr, limit: int) -> None:
        """Emit one row: tiles that need no clipping in a loop for each size, the others one by one."""
        conv = self.conv
        tiles: list[tuple[int, int]] = []
        for size, count in balanced(conv.out_width, limit):
            start = sum(each for _, each in tiles)
            tiles += [(start + at * size, size) for at in range(count)]
        inner = [each for each in tiles if conv.all_inside(*each)]
        for size in dict.fromkeys(size for _, size in inner):
            same = [column for column, each in inner if each == size]
            if len(same) == 1:
                self._tile(image, group, block, row, same[0], size, clipped=False)
            else:
                with T.serial(0, len(same)) as at:
                    self._tile(image, group, block, row, at * size + same[0], size, clipped=False)
        for column, size in tiles:
            if not conv.all_inside(column, size):
                self._tile(image, group, block, row, column, size, clipped=True)

    def _tile(self, image: Expr, group: Expr, block: Expr, row: Expr, column: Expr, size: int, clipped: bool) -> None:
        conv, sums = self.conv, self.sums
        sums.clear(size)
        step = 1 if conv.planar else conv.lanes
        full, rest = divmod(conv.in_channels, step)
        for start, blocks, channels in ((0, full, step), (full, min(1, rest), rest)):
            if blocks:
                with T.serial(0, blocks) as in_block:
                    self._taps(image, group, in_block + start, channels, block, row, column, clipped)

        def store(pixel: Expr, vector: Expr, lane: Expr) -> None:
            position = row * conv.out_width + column + pixel
            y, x = (row, column + pixel) if conv.out_width == self.image_width else divide(position, self.image_width)
            logical = [image, (block + vector) * conv.lanes + lane, y, x]
            self.kernel.store(self.kernel.finish(sums.sum(pixel, vector, lane), logical), logical)

        sums.each(store)

    def _taps(
        self, image: Expr, group: Expr, in_block: Expr, channels: int, block: Expr, row: Expr, column: Expr,
        clipped: bool,
    ) -> None:  # fmt: skip
        """Emit the loops over the kernel's window and the channels of one input block."""
        conv, sums = self.conv, self.sums
        low, high = self._tap_rows(row)
        unrolled = min(4, channels)
        with T.serial(0, high - low) as clipped_row:
            tap_row = low + clipped_row
            y = row * conv.strides[0] - conv.top + tap_row * conv.dilation[0]

            def taps(tap: Expr, rows: list[int] | None) -> None:
                for start, steps, unroll in unrolled_loop(channels, unrolled):
                    with T.serial(0, steps) as outer, T.unroll(0, unroll) as inner:
                        channel = outer * unroll + inner + start
                        sums.multiply_add(
                            lambda pixel: self._element(image, group, in_block, channel, y, column, pixel, tap),
                            lambda vector, lane: self._weight(block + vector, in_block, tap_row, tap, channel, lane),
                            rows,
                        )

            if not clipped:
                with T.serial(0, conv.kernel[1]) as tap:
                    taps(tap, None)
                return
            for tap in range(conv.kernel[1]):
                rows = [pixel for pixel in range(sums.rows) if conv.tap_inside(column + pixel, tap)]
                if rows:
                    taps(tap, rows)

    def _tap_rows(self, row: Expr) -> tuple[Expr, Expr]:
        """Return the bounds of the kernel's rows that meet data: numbers where no row clips."""
        conv = self.conv
        height, dilation = conv.kernel[0], conv.dilation[0]
        first = row * conv.strides[0] - conv.top
        reach = (conv.out_height - 1) * conv.strides[0] - conv.top + (height - 1) * dilation
        low: Expr = 0
        high: Expr = height
        if conv.top:
            low = tirx.max(0, (dilation - 1 - first) // dilation)
        if reach >= conv.height:
            high = tirx.min(height, (conv.height - first + dilation - 1) // dilation)
        return low, high

    def _element(
        self, image: Expr, group: Expr, in_block: Expr, channel: Expr, y: Expr, column: Expr, pixel: Expr, tap: Expr
    ) -> Expr:
        conv = self.conv
        x = (column + pixel) * conv.strides[1] - conv.left + tap * conv.dilation[1]
        if conv.width != self.data_width:
            y, x = divide(y * conv.width + x, self.data_width)
        if conv.planar:
            return self.data[image, in_block, y, x]
        blocks = -(-conv.in_channels // conv.lanes)
        return self.data[image, group * blocks + in_block, y, x, channel]

    def _weight(self, block: Expr, in_block: Expr, tap_row: Expr, tap: Expr, channel: Expr, lane: Expr) -> Expr:
        if self.conv.planar:
            return self.weight[block, in_block, tap_row, tap, lane]
        return self.weight[block, in_block, tap_row, tap, channel, lane]


def divide(position: Expr, width: int) -> tuple[Expr, Expr]:
    """Return row and column of a pixel."""
    return position // width, position % width
