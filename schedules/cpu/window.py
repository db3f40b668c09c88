"""Sliding windows over images: the loops that convolutions of every kind share, and how they meet the border.

A register tile holds a run of output pixels of one row. Padding is never stored or multiplied: rows clip the kernel's
height at run time; the tiles at the left and right border, whose place is known, leave out the taps that fall outside.
Loops begin at zero: the loop partitioning of TVM 0.27 mistakes the bounds of loops that do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...dims import Dim, upper
from ...targets.target import Target
from ...workload import TensorType, Workload
from ..access import stored_indices
from ..kernel import Kernel, balanced, starts
from ..vectors import extent
from .partition import Grid
from .register_tile import CACHE_LINE, NEAREST, RegisterTile, Step, multiply_add, prefetch_line

Expr = Any

#: Multiply-adds for an output up to which a kernel waits for its stores.
LITTLE = 32


class Place(NamedTuple):
    """Where a tile lies: image, group, first block of output channels, row, first column; and its turn in its chunk."""

    image: Expr
    group: Expr
    block: Expr
    row: Expr
    column: Expr
    turn: Expr


@dataclass(frozen=True)
class Convolution:
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
    itemsize: int = 4

    @staticmethod
    def of(work: Workload, depthwise: bool = False) -> Convolution:
        """Return the geometry of a workload; a depthwise one is seen as one group of its channel blocks.

        Of images whose number only a run knows it is the geometry of one.
        """
        work = one_image(work)
        data, weight = work.inputs[:2]
        groups = 1 if depthwise else work.attr("groups")
        batch, _, height, width = data.shape
        out_channels, in_channels, *kernel = weight.shape
        _, _, out_height, out_width = work.output.shape
        lanes = work.output.layout.blocks[1] if work.output.layout else 1
        top, left, _, _ = work.attr("padding")
        return Convolution(
            batch, groups, in_channels, -(-out_channels // groups // lanes), height, width, out_height, out_width,
            (kernel[0], kernel[1]), work.attr("strides"), work.attr("dilation"), top, left, lanes,
            data.layout is None, np.dtype(data.dtype).itemsize,
        )  # fmt: skip

    def merged(self, limit: int) -> Convolution:
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

    @property
    def row_bytes(self) -> int:
        """Bytes of one group's data that a row of the output adds to what the row before has read."""
        return self.itemsize * self.in_channels * self.width * min(self.strides[0], self.kernel[0])

    def tap_inside(self, column: int, tap: int) -> bool:
        """Return whether a column of the output meets data under a column of the kernel."""
        return 0 <= column * self.strides[1] - self.left + tap * self.dilation[1] < self.width

    def row_tap_inside(self, row: int, tap: int) -> bool:
        """Return whether a row of the output meets data under a row of the kernel."""
        return 0 <= row * self.strides[0] - self.top + tap * self.dilation[0] < self.height

    def all_inside(self, column: int, size: int) -> bool:
        """Return whether a run of output columns needs no clipping."""
        return self.tap_inside(column, 0) and self.tap_inside(column + size - 1, self.kernel[1] - 1)

    def tap_rows(self, row: Expr) -> tuple[Expr, Expr]:
        """Return which rows of the kernel meet data under a row of the output: numbers where no row clips."""
        height, dilation = self.kernel[0], self.dilation[0]
        first = row * self.strides[0] - self.top
        reach = (self.out_height - 1) * self.strides[0] - self.top + (height - 1) * dilation
        low: Expr = 0
        high: Expr = height
        if self.top:
            low = tirx.max(0, (dilation - 1 - first) // dilation)
        if reach >= self.height:
            high = tirx.min(height, (self.height - first + dilation - 1) // dilation)
        return low, high


class WindowWriter:
    """Emits one convolution; a kind of convolution says how a tile is summed.

    ``conv`` may see the image's pixels in other rows than the buffers do.

    Attributes:
        multiply_add: a step of the register tile.
    """

    multiply_add: Step = staticmethod(multiply_add)

    def __init__(self, kernel: Kernel, conv: Convolution, target: Target) -> None:
        self.kernel, self.conv, self.target = kernel, conv, target
        self.data, self.weight = kernel.inputs[:2]
        self.first_image: Expr = 0
        self.image_width, self.data_width = kernel.work.output.shape[3], kernel.work.inputs[0].shape[3]

    def accumulators(self, rows: int, vectors: int) -> RegisterTile:
        """Return the sums of a tile."""
        conv = self.conv
        depth = conv.in_channels * conv.kernel[0] * conv.kernel[1]
        return RegisterTile(rows, vectors, conv.lanes, depth, step=self.multiply_add)

    def sum_tile(self, place: Place, clipped: bool) -> None:
        """Emit the reduction of one tile into ``self.sums``; a clipped tile's column is a number.

        At a border the window's columns go first, one by one. A real loop lies between two of them, so that LLVM does
        not keep for the second what the first has loaded: there are no registers for it.
        """
        if not clipped:
            self.sum_blocks(place, None, None)
            return
        for tap in range(self.conv.kernel[1]):
            pixels = self.pixels_inside(place, tap)
            if pixels:
                self.sum_blocks(place, tap, pixels)

    def sum_blocks(self, place: Place, tap: int | None, pixels: list[int] | None) -> None:
        """Sum all input channels under one column of the kernel and some pixels, or under all of both."""
        raise NotImplementedError

    def each_tap(self, place: Place, tap: int | None, body: Callable[[tuple[Expr, Expr]], None]) -> None:
        """Emit ``body`` for the kernel's rows that meet data, and for all of its columns if none is given."""
        low, high = self.conv.tap_rows(place.row)
        with T.serial(0, high - low) as clipped_row:
            if tap is not None:
                body((low + clipped_row, tap))
                return
            with T.serial(0, self.conv.kernel[1]) as column:
                body((low + clipped_row, column))

    def result(self, pixel: Expr, vector: Expr, lane: Expr) -> Expr:
        """Return a lane of the convolution's result."""
        return self.sums.sum(pixel, vector, lane)

    def write(self, vectors: int, tile: int) -> None:
        """Emit the loops over images, parts of rows and channel tiles, one nest for each size of channel tile."""
        with every_image(self.kernel.work) as self.first_image:
            self._write(vectors, tile)

    def _write(self, vectors: int, tile: int) -> None:
        conv = self.conv
        tiles = self.column_tiles(tile)
        for first, size, count in starts(balanced(conv.out_blocks, vectors)):
            grid = self._grid(count)
            with T.parallel(0, grid.tasks) as task:
                image, group, at, part = grid.place(task)
                block = group * conv.out_blocks + at * size + first
                start = part * conv.out_height // grid.parts
                present = (part + 1) * conv.out_height // grid.parts - start
                self.sums = self.accumulators(tile, size)
                # A panel of weights serves one part of the rows, or all images one after the other.
                rows = -(-conv.out_height // grid.parts) if grid.rows_outside else conv.batch * conv.out_height
                self.turns = rows * len(tiles)
                before = 0 if grid.rows_outside else image * conv.out_height + start
                place = Place(self.first_image + image, group, block, start, 0, before * len(tiles))
                self.rows(place, present, tiles)

    def column_tiles(self, tile: int) -> list[tuple[int, int]]:
        """Return the (column, size) of the tiles of a row, none larger than ``tile``."""
        runs = starts(balanced(self.conv.out_width, tile))
        return [(first + at * size, size) for first, size, count in runs for at in range(count)]

    def rows(self, place: Place, count: Expr, tiles: list[tuple[int, int]]) -> None:
        """Emit so many rows of tiles (column, size) from a place on, into the sums that are set."""
        with T.serial(0, count) as row:
            self._row(place._replace(row=place.row + row, turn=place.turn + row * len(tiles)), tiles)

    def _grid(self, channel_tiles: int) -> Grid:
        """Return how tasks are dealt; a part of an image's rows fits half the second-level cache, as far as it can."""
        conv, facts = self.conv, self.target.facts
        fitting = max(1, facts.l2_bytes // 2 // conv.row_bytes)
        parts = -(-conv.out_height // fitting)
        shape = conv.batch, conv.groups, channel_tiles, conv.out_height
        return Grid.of(shape, facts.cores, self.rows_outside(channel_tiles, parts), parts)

    def rows_outside(self, channel_tiles: int, parts: int) -> bool:
        """Return whether threads share the rows and not the channels: whichever makes them read less.

        What passes again and again, weights or data, is read once where it stays in the second-level cache.
        """
        conv, facts = self.conv, self.target.facts
        data = conv.batch * conv.groups * conv.out_height * conv.row_bytes
        taps = conv.kernel[0] * conv.kernel[1]
        weights = conv.itemsize * taps * conv.in_channels * conv.groups * conv.out_blocks * conv.lanes
        weight_passes = conv.batch * parts / facts.cores if weights // conv.groups > facts.l2_bytes // 2 else 1
        data_passes = channel_tiles / facts.cores if data // conv.groups > facts.l2_bytes // 2 else 1
        by_rows = data / facts.cores + weights * max(1, weight_passes)
        by_channels = weights / facts.cores + data * max(1, data_passes)
        return by_rows <= by_channels

    def _row(self, place: Place, tiles: list[tuple[int, int]]) -> None:
        """Emit a row of tiles (column, size): those without clipping in a loop for each size, the others singly."""
        inner = [tile for tile in tiles if self.conv.all_inside(*tile)]
        for size in dict.fromkeys(size for _, size in inner):
            same = [tile for tile in inner if tile[1] == size]
            first, turn = same[0][0], place.turn + tiles.index(same[0])
            with T.serial(0, len(same)) as at:
                self._tile(place._replace(column=at * size + first, turn=turn + at), size, clipped=False)
        for index, (column, size) in enumerate(tiles):
            if not self.conv.all_inside(column, size):
                self._tile(place._replace(column=column, turn=place.turn + index), size, clipped=True)

    def begin_tile(self, size: int) -> None:
        """Set the sums of a tile of so many columns to zero."""
        self.sums.clear(size)

    def logical(self, place: Place, pixel: Expr, vector: Expr, lane: Expr) -> list[Expr]:
        """Return the output's logical indices of a sum of the tile."""
        conv = self.conv
        y, x = place.row, place.column + pixel
        if conv.out_width != self.image_width:
            y, x = divide(y * conv.out_width + x, self.image_width)
        return [place.image, (place.block + vector) * conv.lanes + lane, y, x]

    def _tile(self, place: Place, size: int, clipped: bool) -> None:
        self.begin_tile(size)
        logical = partial(self.logical, place)
        self._prefetch_operands(logical)
        self._claim_next_row(logical)
        self.sum_tile(place, clipped)
        self.sums.flush()

        def store(pixel: Expr, vector: Expr, lane: Expr) -> None:
            at = logical(pixel, vector, lane)
            self.kernel.store(self.kernel.finish(self.result(pixel, vector, lane), at), at)

        self.sums.each(store)

    def _prefetch_operands(self, logical: Callable[[Expr, Expr, Expr], list[Expr]]) -> None:
        """Fetch the tile of the epilogue's operands of the output's size, such as a residual, while the sums are made.

        Smaller ones lie in a near cache: they would be fetched in vain.
        """
        work = self.kernel.work
        if 4 * upper(math.prod(work.output.stored_shape)) < 2 * self.target.facts.l2_bytes:
            return
        extra = zip(self.kernel.inputs[work.anchor_arity :], work.inputs[work.anchor_arity :], strict=True)
        for buffer, tensor in extra:
            if tensor.stored_shape != work.output.stored_shape:
                continue
            with T.unroll(0, self.sums.rows) as pixel:
                for vector in range(self.sums.vectors):
                    prefetch_line(buffer, stored_indices(tensor, logical(pixel, vector, 0)), NEAREST)

    def claims_output(self) -> bool:
        """Return whether the kernel does little else than write memory that other cores have used."""
        conv = self.conv
        return self.target.facts.cores > 1 and conv.in_channels * conv.kernel[0] * conv.kernel[1] <= LITTLE

    def _claim_next_row(self, logical: Callable[[Expr, Expr, Expr], list[Expr]]) -> None:
        """Fetch the tile of the output below this one, to write it, in kernels that do little else than write.

        Memory that another core has used last must be taken from its cache, which stores wait for one after the other.
        """
        conv = self.conv
        if not self.claims_output():
            return
        line = max(1, CACHE_LINE // conv.lanes)
        with T.unroll(0, -(-self.sums.rows // line)) as at:
            for vector in range(self.sums.vectors):
                image, channel, y, x = logical(at * line, vector, 0)
                below = stored_indices(self.kernel.work.output, [image, channel, y + 1, x])
                prefetch_line(self.kernel.outputs[0], below, NEAREST, write=True)

    def data_pixel(
        self, place: Place, pixel: Expr, tap_row: Expr, tap: Expr, clipped_row: Expr | None = None
    ) -> tuple[Expr, Expr]:
        """Return row and column of the data under a pixel of the tile and a tap of the kernel.

        ``clipped_row`` counts the kernel's rows from the first that meets data. Where it is given, no constant is left
        in the row, so that the distances from one address to all pixels of a tile are small: ARM's loads reach far
        forward only. (On x86 the maximum costs more than the distances: 3 % of MobileNetV2.)
        """
        conv = self.conv
        y = place.row * conv.strides[0] - conv.top + tap_row * conv.dilation[0]
        if clipped_row is not None and conv.top and conv.dilation[0] == 1:
            y = tirx.max(place.row * conv.strides[0] - conv.top, 0) + clipped_row
        x = (place.column + pixel) * conv.strides[1] - conv.left + tap * conv.dilation[1]
        return (y, x) if conv.width == self.data_width else divide(y * conv.width + x, self.data_width)

    def pixels_inside(self, place: Place, tap: int) -> list[int]:
        """Return which pixels of a tile at a known column meet data under a column of the kernel."""
        return [pixel for pixel in range(self.sums.rows) if self.conv.tap_inside(place.column + pixel, tap)]


def one_image(work: Workload) -> Workload:
    """Return the workload for one image where only a run knows how many there are."""
    images = work.output.shape[0]
    if not isinstance(images, Dim):
        return work

    def single(operands: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return tuple(
            replace(each, shape=(1, *each.shape[1:])) if len(each.shape) == 4 and each.shape[0] == images else each
            for each in operands
        )

    return replace(work, inputs=single(work.inputs), outputs=single(work.outputs))


@contextmanager
def every_image(work: Workload) -> Iterator[Expr]:
    """Open a loop over images where only a run knows how many there are, and give the image; else give 0."""
    images = work.output.shape[0]
    if not isinstance(images, Dim):
        yield 0
        return
    with T.serial(0, extent(images)) as image:
        yield image


def divide(position: Expr, width: int) -> tuple[Expr, Expr]:
    """Return row and column of a pixel."""
    return position // width, position % width
