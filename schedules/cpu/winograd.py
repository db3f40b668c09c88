"""Winograd convolution F(m x m, 3 x 3) in blocked layout, with its epilogue.

    V[a, ic, p] = B^T d B        for the n x n tile d of data at every p, n = m + 2, a one of the n^2 points
    M[a, oc, p] = sum over ic of U[a, ic, oc] V[a, ic, p]          n^2 matrix products, U transformed at compile time
    Y[oc, p]    = A^T M A        m x m output pixels, then the epilogue

Tiles are taken in chunks of tile rows, so that V and M of a chunk stay in the second-level cache, or of whole images
where the weights, which pass once for every chunk, are the larger traffic. The threads share the chunks where there are
enough of them, else the blocks and points inside each of the three steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...targets.target import Target
from ...winograd import POINTS, WinogradLayout, transforms
from ...workload import LowTensor, Workload
from ..kernel import Kernel, balanced, starts, unrolled_loop, writing
from ..low_precision import LowBuffer, dot, multiplies_pairs, store_element
from ..template import CPUS, NotApplicable, template
from .conv2d import blocked, epilogue_layouts
from .register_tile import (
    MEMORY_BYTES_PER_CYCLE,
    MULTIPLY_ADDS_PER_CYCLE,
    RegisterTile,
    multiplies_by_lane,
    multiply_add,
    prefetch,
    tile_shape,
)
from .window import every_image, one_image
from .winograd_transform import Transform

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any

#: Measured: what one point of one tile and channel block takes in both transforms together, halved.
CYCLES_PER_POINT = 4.0
#: Measured: weights that pass again from the third-level cache are fetched while the products are made.
CACHED_BYTES_PER_CYCLE = 40.0
#: Measured: V and M as large as half the third-level cache; the rate falls with the root of their size.
SPILT_BYTES_PER_CYCLE = 16.0
#: The output tile of products of pairs: F(4x4)'s transforms would lose ten times what rounding to bfloat16 does.
LOW_TILE = 2


@dataclass(frozen=True)
class _Tiling:
    """How images are cut: m x m output tiles from n x n data tiles, in chunks of tile rows or of whole images.

    Attributes:
        images: images of a chunk; more than one only with all their rows.
        chunk_rows: tile rows that a chunk has of an image.
    """

    tile: int
    size: int
    rows: int
    columns: int
    images: int
    chunk_rows: int

    @property
    def tiles(self) -> int:
        """Tiles of a chunk."""
        return self.images * self.chunk_rows * self.columns

    @property
    def points(self) -> int:
        """Points of the transformed domain."""
        return self.size * self.size


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for blocked activations and weights transformed for the cheaper tile size."""
    low = multiplies_pairs(work, target)
    weight = work.inputs[1]
    if not applies(work) or (isinstance(weight, LowTensor) and weight.held == "bfloat16" and not low):
        raise NotApplicable
    wishes = [winograd_layouts(work, target, tile) for tile in ((LOW_TILE,) if low else POINTS)]
    return min(wishes, key=lambda wish: cost(one_image(wish), target))


def cost(work: Workload, target: Target) -> float:
    """Return estimated cycles: products, the transforms of every tile, and the traffic of the chunks."""
    layout = work.inputs[1].layout
    assert isinstance(layout, WinogradLayout)
    batch, out_channels, height, width = work.output.shape
    in_channels, lanes = work.inputs[0].shape[1], target.lanes()
    in_blocks, out_blocks = -(-in_channels // lanes), -(-out_channels // lanes)
    tiles = batch * -(-height // layout.tile) * -(-width // layout.tile)
    points = (layout.tile + 2) ** 2
    products = tiles * points * in_channels * out_blocks / MULTIPLY_ADDS_PER_CYCLE / (2 if layout.pairs else 1)
    transforms_of_tiles = tiles * points * (in_blocks + out_blocks) * CYCLES_PER_POINT
    return products + transforms_of_tiles + traffic(work, target, layout, *chunk_of(work, target, layout))


def traffic(work: Workload, target: Target, layout: WinogradLayout, images: int, rows: int) -> float:
    """Return the cycles that weights, V and M take with chunks of so many images and tile rows.

    All weights pass in every chunk, the first time from memory; V and M, which a chunk writes and reads, leave the
    second-level cache where they do not fit half of it.
    """
    facts, lanes = target.facts, target.lanes()
    batch, out_channels, height, width = work.output.shape
    in_channels, points = work.inputs[0].shape[1], (layout.tile + 2) ** 2
    tile_rows, columns = -(-height // layout.tile), -(-width // layout.tile)
    size = 2 if layout.pairs else 4
    weights = size * points * in_channels * -(-out_channels // lanes) * lanes
    chunks = batch // images * -(-tile_rows // rows)
    again = 0.0
    if weights > facts.l2_bytes // 2:
        again = weights / (CACHED_BYTES_PER_CYCLE if weights <= facts.l3_bytes // 2 else MEMORY_BYTES_PER_CYCLE)
    spilt, between = 0.0, points * (size * in_channels + 4 * out_channels) * images * rows * columns
    if between > facts.l2_bytes // 2:
        spilt = 2 * between / SPILT_BYTES_PER_CYCLE * math.sqrt(between / (facts.l3_bytes // 2))
    return weights / MEMORY_BYTES_PER_CYCLE + (chunks - 1) * again + chunks * spilt


def chunk_of(work: Workload, target: Target, layout: WinogradLayout) -> tuple[int, int]:
    """Return the images and tile rows of the chunk with the least traffic, the smaller one of two that are as good."""
    rows = -(-work.output.shape[2] // layout.tile)
    parts = dict.fromkeys(-(-rows // pieces) for pieces in range(rows, 0, -1))
    several = [images for images in range(2, work.output.shape[0] + 1) if work.output.shape[0] % images == 0]
    chunks = [*((1, part) for part in parts), *((images, rows) for images in several)]
    return min(chunks, key=lambda chunk: traffic(work, target, layout, *chunk))


def winograd_layouts(work: Workload, target: Target, tile: int) -> Workload:
    """Return the workload with blocked activations and weights transformed for output tiles of m x m."""
    lanes = target.lanes()
    weight = WinogradLayout.of(tile, lanes, multiplies_pairs(work, target))
    inputs = (blocked(lanes), weight, *epilogue_layouts(work, blocked(lanes)))
    return work.with_layouts(inputs, (blocked(lanes),))


def applies(work: Workload) -> bool:
    """Return whether a convolution is 3 x 3 of stride 1 over all channels, with weights known now."""
    shape = work.inputs[1].shape[2:]
    steps = (*work.attr("strides"), *work.attr("dilation"), work.attr("groups"))
    return shape == (3, 3) and set(steps) == {1} and bool(dict(work.attrs).get("constant_weight"))


@template("conv2d", arch=CPUS, dtypes=("float32",), layouts=layouts, cost=cost, accuracy="default", symbolic=True)
def winograd_conv2d(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Transform data tiles, multiply point by point, transform back into the epilogue."""
    layout = work.inputs[1].layout
    if not isinstance(layout, WinogradLayout) or work.output.layout is None:
        raise NotApplicable
    rows, columns = -(-work.output.shape[2] // layout.tile), -(-work.output.shape[3] // layout.tile)
    images, part = chunk_of(one_image(work), target, layout)
    chunk = knobs.choice("chunk_rows", range(1, rows + 1), default=part)
    vectors = knobs.choice("vectors", (1, 2, 3, 4), default=tile_shape(target)[1])
    with writing(work) as kernel:
        tiling = _Tiling(layout.tile, layout.tile + 2, rows, columns, images if chunk == rows else 1, chunk)
        _Writer(kernel, tiling, target, vectors).write()
    assert kernel.function is not None
    return kernel.function


class _Writer:
    """Emits one Winograd convolution."""

    def __init__(self, kernel: Kernel, tiling: _Tiling, target: Target, vectors: int) -> None:
        work = kernel.work
        self.kernel, self.tiling, self.target, self.vectors = kernel, tiling, target, vectors
        self.data, self.weight = kernel.inputs[:2]
        self.batch, self.in_channels, self.height, self.width = one_image(work).inputs[0].shape
        self.first_image: Expr = 0
        self.lanes = target.lanes()
        self.in_blocks = -(-self.in_channels // self.lanes)
        self.out_blocks = -(-work.output.shape[1] // self.lanes)
        self.top, self.left = work.attr("padding")[:2]
        self.matrices = transforms(tiling.tile)
        layout = work.inputs[1].layout
        self.low = isinstance(layout, WinogradLayout) and layout.pairs
        # Input channels of a step, and steps of a block.
        self.step_channels = 2 if self.low else 1
        self.steps = self.lanes // self.step_channels
        self.inner_pair = [0] if self.low else []
        if self.low:
            self.weight = self.weight.pairs()
        self.chunks = -(-tiling.rows // tiling.chunk_rows)

    def write(self) -> None:
        """Emit the loop over chunks and, inside, the three steps."""
        with every_image(self.kernel.work) as self.first_image:
            self._write()

    def _write(self) -> None:
        tasks = self.batch // self.tiling.images * self.chunks
        many = tasks >= 2 * self.target.facts.cores
        outer: Callable[[int, int], AbstractContextManager[Expr]] = T.parallel if many else T.serial
        self.inner = T.serial if many else T.parallel
        if not many:
            self._allocate()
        with outer(0, tasks) as index:
            if many:
                self._allocate()
            image = index // self.chunks * self.tiling.images + self.first_image
            self._chunk(image, index % self.chunks * self.tiling.chunk_rows)

    def _allocate(self) -> None:
        # One row more than is used: points would otherwise lie a multiple of 4096 bytes apart and evict one another.
        points, tiles = self.tiling.points, self.tiling.tiles
        v = (points, self.in_blocks * tiles + 1, self.lanes)
        self.v = LowBuffer(T.alloc_buffer(v, "uint16"), "bfloat16") if self.low else T.alloc_buffer(v, "float32")
        self.v_steps = self.v.pairs() if self.low else self.v
        self.m = T.alloc_buffer((points, self.out_blocks * tiles + 1, self.lanes), "float32")

    def _chunk(self, image: Expr, first: Expr) -> None:
        tiling = self.tiling
        with self.inner(0, self.in_blocks) as block:
            transform = Transform(self.matrices.data, self.lanes)
            with self._tiles() as (at, row, column):
                self._transform_data(transform, (image, at), block, first, row, column)
        for start, size, count in starts(balanced(self.out_blocks, self.vectors)):
            with self.inner(0, tiling.points * count) as index:
                self._multiply(index // count, index % count * size + start, size)
        with self.inner(0, self.out_blocks) as block:
            transform = Transform(self.matrices.output, self.lanes)
            with self._tiles() as (at, row, column):
                self._transform_output(transform, (image, at), block, first, row, column)

    @contextmanager
    def _tiles(self) -> Iterator[tuple[Expr, Expr, Expr]]:
        """Open loops over a chunk's images, tile rows and tile columns."""
        tiling = self.tiling
        rows, columns = T.serial(0, tiling.chunk_rows), T.serial(0, tiling.columns)
        with T.serial(0, tiling.images) as at, rows as row, columns as column:
            yield at, row, column

    def _place(self, block: Expr, at: Expr, row: Expr, column: Expr) -> Expr:
        """Return where a tile of a chunk lies in V or M."""
        tiling = self.tiling
        return block * tiling.tiles + (at * tiling.chunk_rows + row) * tiling.columns + column

    def _transform_data(
        self, transform: Transform, images: tuple[Expr, Expr], block: Expr, first: Expr, row: Expr, column: Expr
    ) -> None:
        """Emit V of one tile: plain loads inside the image; at its border each pixel is loaded if it is inside."""
        tiling = self.tiling
        y, x = (first + row) * tiling.tile - self.top, column * tiling.tile - self.left
        place, image = self._place(block, images[1], row, column), images[0] + images[1]

        def inside(at_row: int, at_column: int, lane: Expr) -> Expr:
            return self.data[image, block, y + at_row, x + at_column, lane]

        def padded(at_row: int, at_column: int, lane: Expr) -> Expr:
            # A branch, not a Select: the simplifier takes a Select's condition for granted in its operand and would
            # strip any clamp from the address, although both operands of a vector's Select are computed.
            valid = [y + at_row >= 0, y + at_row < self.height, x + at_column >= 0, x + at_column < self.width]
            return tirx.if_then_else(tirx.all(*valid), inside(at_row, at_column, lane), tirx.const(0.0, "float32"))

        def store(at_row: int, at_column: int, lane: Expr, value: Expr) -> None:
            store_element(self.v, value, [at_row * tiling.size + at_column, place, lane])

        last = tiling.size - 1
        with T.If(tirx.all(y >= 0, y + last < self.height, x >= 0, x + last < self.width)):
            with T.Then():
                transform.emit(inside, store)
            with T.Else():
                transform.emit(padded, store)

    def _multiply(self, point: Expr, block: Expr, vectors: int) -> None:
        """Emit M of one point and tile of output channels: a matrix product over the input channels."""
        tiles = self.tiling.tiles
        limit = tile_shape(self.target)[0] * tile_shape(self.target)[1] // max(vectors, 2)
        runs = starts(balanced(tiles, limit))
        step = dot if self.low else multiply_add
        self.sums = RegisterTile(max(size for _, size, _ in runs), vectors, self.lanes, step=step)
        turns, done = sum(count for *_, count in runs), 0
        for start, size, count in runs:
            with T.serial(0, count) as at:
                self._product(point, block, at * size + start, size, (at + done, turns))
            done += count

    def _product(self, point: Expr, block: Expr, first: Expr, size: int, turn: tuple[Expr, int]) -> None:
        """Emit one register tile: some tiles of the image times the vectors of a panel."""
        sums, lanes = self.sums, self.lanes
        sums.clear(size)
        full, rest = divmod(self.in_channels, lanes)
        for start, blocks, channels in ((0, full, lanes), (full, min(1, rest), rest)):
            if blocks:
                with T.serial(0, blocks) as in_block:
                    self._steps(point, block, in_block + start, channels, first, turn)
        place = first + block * self.tiling.tiles
        sums.each(
            lambda tile, vector, lane: T.buffer_store(
                self.m, sums.sum(tile, vector, lane), [point, place + vector * self.tiling.tiles + tile, lane]
            )
        )

    def _steps(
        self, point: Expr, block: Expr, in_block: Expr, channels: int, first: Expr, turn: tuple[Expr, int]
    ) -> None:
        sums, needed = self.sums, -(-channels // self.step_channels)
        unrolled = min(4, needed)
        for start, steps, unroll in unrolled_loop(needed, unrolled):
            with T.serial(0, steps) as outer:
                if not start:
                    of_a_turn = self.in_blocks * self.steps // unrolled
                    now = turn[0] * of_a_turn + in_block * (self.steps // unrolled) + outer
                    panel = sums.vectors * -(-self.in_channels // self.step_channels)
                    following = [point, block + sums.vectors, 0, 0, *self.inner_pair]
                    prefetch(self.weight, following, 2, panel, now, turn[1] * of_a_turn)
                self._add_steps(point, block, in_block, outer * unroll + start, unroll, first)

    def _add_steps(self, point: Expr, block: Expr, in_block: Expr, at: Expr, count: int, first: Expr) -> None:
        self.sums.steps(
            count,
            lambda tile, step: self.v_steps[point, in_block * self.tiling.tiles + first + tile, at + step],
            lambda vector, step, lane: self.weight[
                (point, block + vector, in_block * self.steps + at + step, lane, *self.inner_pair)
            ],
            by_lane=not self.low and multiplies_by_lane(self.target),
        )

    def _transform_output(
        self, transform: Transform, images: tuple[Expr, Expr], block: Expr, first: Expr, row: Expr, column: Expr
    ) -> None:
        """Emit the output pixels of one tile that lie in the image, with the epilogue."""
        tiling, kernel = self.tiling, self.kernel
        place, image = self._place(block, images[1], row, column), images[0] + images[1]
        y, x = (first + row) * tiling.tile, column * tiling.tile
        _, _, out_height, out_width = kernel.work.output.shape

        def load(at_row: int, at_column: int, lane: Expr) -> Expr:
            return self.m[at_row * tiling.size + at_column, place, lane]

        def store(at_row: int, at_column: int, lane: Expr, value: Expr) -> None:
            logical = [image, block * self.lanes + lane, y + at_row, x + at_column]
            kernel.store(kernel.finish(value, logical), logical)

        def present(at_row: int, at_column: int) -> list[Expr]:
            whole_rows = out_height % tiling.tile == 0 and tiling.rows % tiling.chunk_rows == 0
            tests = [] if whole_rows else [y + at_row < out_height]
            return tests if out_width % tiling.tile == 0 else [*tests, x + at_column < out_width]

        transform.emit(load, store, present)
