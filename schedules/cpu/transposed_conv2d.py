"""Transposed convolution in blocked layout, with its epilogue.

Data [N, IC/b, H, W, b], weights [OC/b, IC/b, KH, KW, b, b] (depthwise [C/b, 1, KH, KW, b]), output
[N, OC/b, OH, OW, b], b the lanes of a vector. Nothing is scattered and no zero is inserted: each result gathers its own
taps. The columns of one phase are a register tile over neighbouring data; which rows of the kernel a row takes is found
at run time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...layout import Layout
from ...targets.target import Target
from ...workload import Workload
from ..kernel import Kernel, balanced, starts, unrolled_loop, writing
from ..template import CPUS, NotApplicable, template
from .conv2d import blocked, epilogue_layouts
from .folded_tile import FOLD_CYCLES, FoldedTile, folded_shape
from .register_tile import MULTIPLY_ADDS_PER_CYCLE, RegisterTile, tile_shape
from .transposed_axis import Phase, TransposedAxis

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any


class _Place(NamedTuple):
    """Where a tile lies: image, group, first block of output channels, row, first result of its column phase."""

    image: Expr
    group: Expr
    block: Expr
    row: Expr
    column: Expr


def _is_depthwise(work: Workload) -> bool:
    in_channels, out_channels, *_ = work.inputs[1].shape
    return bool(work.attr("groups") == in_channels > 1 and out_channels == 1)


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for blocked activations and weights; the channels of each of several groups must be whole blocks."""
    lanes = target.lanes()
    in_channels, out_channels, *_ = work.inputs[1].shape
    groups = work.attr("groups")
    depthwise = _is_depthwise(work)
    if groups > 1 and not depthwise and (in_channels // groups % lanes or out_channels % lanes):
        raise NotApplicable
    weight = Layout("IOHW", f"IOHW{lanes}i" if depthwise else f"OIHW{lanes}i{lanes}o")
    inputs = (blocked(lanes), weight, *epilogue_layouts(work, blocked(lanes)))
    return work.with_layouts(inputs, (blocked(lanes),))


def _taps(work: Workload) -> int:
    """Return how often data meets a tap, of one input and one output channel."""
    return work.inputs[0].shape[0] * math.prod((*work.inputs[0].shape[2:], *work.inputs[1].shape[2:]))


def cost(work: Workload, target: Target) -> float:
    """Return estimated cycles: multiply-adds of vectors of output channels."""
    groups, lanes = int(work.attr("groups")), target.lanes()
    in_channels, out_channels, *_ = work.inputs[1].shape
    blocks = groups * -(-out_channels // lanes)
    if _is_depthwise(work):
        blocks = -(-groups // lanes)
    return _taps(work) * in_channels // groups * blocks / MULTIPLY_ADDS_PER_CYCLE


@template("conv2d_transpose", arch=CPUS, dtypes=("float32",), layouts=layouts, cost=cost)
def transposed_conv2d(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Keep results of one column phase x output channels in registers while input channels and taps stream past.

    Order: image > group > chunk of rows > tile of output channels > row > column phase > run of results > tap's column
    > input block > tap's row > input channel. Chunk and channel tile are shared among threads.
    """
    if work.inputs[1].layout is None or work.output.layout is None:
        raise NotApplicable
    depthwise = _is_depthwise(work)
    with writing(work) as kernel:
        writer = (_DepthwiseWriter if depthwise else _Writer)(kernel, target)
        rows, columns = tile_shape(target)
        widest = max(phase.count for phase in writer.columns.phases())
        # Where an image is narrow, more vectors of channels fill the registers.
        filling = min(4, max(columns, rows * columns // widest), writer.out_blocks)
        vectors = 1 if depthwise else knobs.choice("vectors", (1, 2, 3, 4), default=filling)
        tile = knobs.choice("tile", range(1, 16), default=rows if depthwise else rows * columns // max(vectors, 2))
        writer.write(vectors, tile)
    assert kernel.function is not None
    return kernel.function


def narrow_layouts(work: Workload, target: Target) -> Workload:
    """Ask for blocked data, weights in vectors of input channels, and a planar output."""
    lanes = target.lanes()
    in_channels, out_channels, *_ = work.inputs[1].shape
    if work.attr("groups") > 1 or in_channels * 2 <= lanes or out_channels >= lanes:
        raise NotApplicable
    others: tuple[Layout | None, ...] = (None,) * (len(work.inputs) - work.anchor_arity)
    return work.with_layouts((blocked(lanes), Layout("IOHW", f"OIHW{lanes}i"), *others), (None,))


def narrow_cost(work: Workload, target: Target) -> float:
    """Return estimated cycles: multiply-adds of vectors of input channels, and the folding of each result."""
    in_channels, out_channels, *_ = work.inputs[1].shape
    steps = _taps(work) * out_channels * -(-in_channels // target.lanes())
    return steps / MULTIPLY_ADDS_PER_CYCLE + math.prod(work.output.shape) * FOLD_CYCLES


@template("conv2d_transpose", arch="x86", dtypes=("float32",), layouts=narrow_layouts, cost=narrow_cost)
def narrow_transposed_conv2d(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Make few output channels, planar: lanes run along the input channels, and each tile is folded at its end."""
    weight = work.inputs[1].layout
    if type(weight) is not Layout or weight.name != f"OIHW{target.lanes()}i" or work.output.layout is not None:
        raise NotApplicable
    default_tile, default_vectors = folded_shape(target, work.output.shape[1])
    vectors = knobs.choice("vectors", (1, 2, 3, 4), default=default_vectors)
    tile = knobs.choice("tile", range(1, min(target.lanes(), 15) + 1), default=default_tile)
    with writing(work) as kernel:
        _NarrowWriter(kernel, target).write(vectors, tile)
    assert kernel.function is not None
    return kernel.function


class _Taps(NamedTuple):
    """A tap of a tile: row and column in the kernel; row and column of the data under the tile's first result."""

    row: Expr
    column: Expr
    y: Expr
    x: Expr


class _Writer:
    """Emits the loops; sums over input channels and taps, one channel's element times vectors of output channels."""

    def __init__(self, kernel: Kernel, target: Target) -> None:
        self.kernel, self.target, work = kernel, target, kernel.work
        self.data, self.weight = kernel.inputs[:2]
        self.lanes = work.output.layout.blocks[1] if work.output.layout else 1
        in_channels, out_channels, *window = work.inputs[1].shape
        top, left, _, _ = work.attr("padding")
        geometry = zip(
            work.inputs[0].shape[2:], work.output.shape[2:], window, work.attr("strides"), work.attr("dilation"),
            (top, left), strict=True,
        )  # fmt: skip
        self.rows, self.columns = (TransposedAxis(*each) for each in geometry)
        self.groups = 1 if _is_depthwise(work) else work.attr("groups")
        self.in_channels = in_channels // self.groups
        self.out_blocks = -(-work.output.shape[1] // self.groups // self.lanes)

    @property
    def depth(self) -> int:
        """How many products a result sums, at the most."""
        return (
            self.in_channels * -(-self.rows.kernel // self.rows.period) * -(-self.columns.kernel // self.columns.period)
        )

    def accumulators(self, rows: int, vectors: int) -> RegisterTile:
        """Return the sums of a tile."""
        return RegisterTile(rows, vectors, self.lanes, self.depth)

    def write(self, vectors: int, tile: int) -> None:
        """Emit the loops over images, chunks and channel tiles, one nest for each size of channel tile."""
        batch, height = self.kernel.work.output.shape[0], self.rows.out_size
        for first, size, count in starts(balanced(self.out_blocks, vectors)):
            rows = self._rows_of_a_chunk(count)
            chunks = -(-height // rows)
            with T.parallel(0, batch * self.groups * chunks * count) as index:
                outer = index // count
                group, image = outer // chunks % self.groups, outer // chunks // self.groups
                block = group * self.out_blocks + index % count * size + first
                start = outer % chunks * rows
                present = rows if height % rows == 0 else tirx.min(rows, height - start)
                self.sums = self.accumulators(tile, size)
                # In a buffer, that is in registers: written out in every index, divisions and differences make LLVM
                # compute every address anew.
                self.taps = T.alloc_buffer((4,), "int32")
                with T.serial(0, present) as row:
                    for phase in self.columns.phases():
                        self._phase(_Place(image, group, block, start + row, 0), phase, tile)

    def _rows_of_a_chunk(self, channel_tiles: int) -> int:
        """Return a chunk's rows: their data fits half the second-level cache, and every core has chunks to do."""
        facts, height = self.target.facts, self.rows.out_size
        row_bytes = 4 * self.columns.size * self.in_channels
        fitting = max(1, facts.l2_bytes // 2 // row_bytes) * self.rows.stride
        tasks = self.kernel.work.output.shape[0] * self.groups * channel_tiles
        wanted = -(-4 * facts.cores // tasks) if facts.cores > 1 else 1
        chunks = max(-(-height // fitting), min(wanted, height))
        return -(-height // chunks)

    def _phase(self, place: _Place, phase: Phase, limit: int) -> None:
        """Emit the tiles of one row and phase: those without clipping in a loop for each size, the others singly."""
        for first, size, count in starts(balanced(phase.count, limit)):
            inner = [at for at in range(count) if phase.all_inside(first + at * size, size)]
            if inner:
                with T.serial(0, len(inner)) as at:
                    self._tile(place._replace(column=(at + inner[0]) * size + first), phase, size, None)
            for at in range(count):
                if at not in inner:
                    column = first + at * size
                    self._tile(place._replace(column=column), phase, size, column)

    def _tile(self, place: _Place, phase: Phase, size: int, clipped: int | None) -> None:
        """Emit one tile; ``clipped`` is its column where some of its taps fall outside the data."""
        self.sums.clear(size)
        if phase.taps:
            if clipped is None:
                with T.serial(0, phase.taps) as step:
                    self.sum_tile(place, phase, step, None)
            else:
                for step in range(phase.taps):
                    inside = [at for at in range(size) if phase.inside(clipped + at, step)]
                    if inside:
                        self.sum_tile(place, phase, step, inside)
        self.sums.flush()

        def store(pixel: Expr, vector: Expr, lane: Expr) -> None:
            column = (place.column + pixel) * self.columns.stride + phase.first
            logical = [place.image, (place.block + vector) * self.lanes + lane, place.row, column]
            self.kernel.store(self.kernel.finish(self.sums.sum(pixel, vector, lane), logical), logical)

        self.sums.each(store)

    def sum_tile(self, place: _Place, phase: Phase, step: Expr, pixels: list[int] | None) -> None:
        """Sum one step of the columns' taps over blocks of input channels; the last may hold fewer."""
        full, rest = divmod(self.in_channels, self.lanes)
        if full:
            with T.serial(0, full) as block:
                self._window(place, phase, block, self.lanes, step, pixels)
                self.sums.flush()
        if rest:
            self._window(place, phase, full, rest, step, pixels)

    @contextmanager
    def each_tap(self, place: _Place, phase: Phase, step: Expr) -> Iterator[_Taps]:
        """Open a loop over the kernel's rows that meet data, at one step of the columns' taps."""
        first, y, low, high = self.rows.window(place.row)
        with T.serial(0, high - low) as clipped:
            at = low + clipped
            found = [
                first + at * self.rows.period,
                phase.tap + step * self.columns.period,
                y - at * self.rows.reach,
                phase.data(place.column, step),
            ]
            for index, value in enumerate(found):
                T.buffer_store(self.taps, value, [index])
            yield _Taps(*(self.taps[index] for index in range(len(found))))

    def _window(
        self, place: _Place, phase: Phase, block: Expr, channels: int, step: Expr, pixels: list[int] | None
    ) -> None:
        with self.each_tap(place, phase, step) as taps:
            for start, steps, unroll in unrolled_loop(channels, min(4, channels)):
                with T.serial(0, steps) as outer, T.unroll(0, unroll) as inner:
                    self._channel(place, block, outer * unroll + inner + start, taps, pixels)

    def _channel(self, place: _Place, block: Expr, channel: Expr, taps: _Taps, pixels: list[int] | None) -> None:
        blocks = -(-self.in_channels // self.lanes)
        within = place.group * blocks + block
        self.sums.multiply_add(
            lambda pixel, lane: self.data[place.image, within, taps.y, taps.x + pixel, channel],
            lambda vector, lane: self.weight[
                place.block + vector - place.group * self.out_blocks, within, taps.row, taps.column, channel, lane
            ],
            pixels,
        )


class _DepthwiseWriter(_Writer):
    """Sums over taps, a vector of channels' elements times a vector of their weights."""

    @property
    def depth(self) -> int:
        """How many products a result sums, at the most."""
        return super().depth // self.in_channels

    def sum_tile(self, place: _Place, phase: Phase, step: Expr, pixels: list[int] | None) -> None:
        """Sum one step of the columns' taps."""
        with self.each_tap(place, phase, step) as taps:
            self.sums.multiply_add(
                lambda pixel, lane: self.data[place.image, place.block, taps.y, taps.x + pixel, lane],
                lambda vector, lane: self.weight[place.block, 0, taps.row, taps.column, lane],
                pixels,
            )


class _NarrowWriter(_Writer):
    """Sums over blocks of input channels and taps, a vector of channels' elements times a vector of their weights."""

    def accumulators(self, rows: int, vectors: int) -> RegisterTile:
        """Return the sums of a tile."""
        lanes = self.target.lanes()
        return FoldedTile(rows, vectors, lanes, -(-self.depth // lanes))

    def sum_tile(self, place: _Place, phase: Phase, step: Expr, pixels: list[int] | None) -> None:
        """Sum one step of the columns' taps over blocks of input channels."""
        with T.serial(0, -(-self.in_channels // self.target.lanes())) as block:
            with self.each_tap(place, phase, step) as taps:
                self.sums.multiply_add(
                    lambda pixel, lane: self.data[place.image, block, taps.y, taps.x + pixel, lane],
                    lambda vector, lane: self.weight[place.block + vector, block, taps.row, taps.column, lane],
                    pixels,
                )
            self.sums.flush()
