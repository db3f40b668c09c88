"""Convolutions around a depthwise one as one kernel: what they hand to one another never leaves a core's cache.

    x --dense (expand)--> e --depthwise--> d --pointwise (project)--> y        either end may be missing

Activations lie in channel blocks, weights as in the kernels of the stages alone. With a projection a thread makes rows
of the result: for a band of rows and one tile of e's channels after the other the rows of e that are not there yet,
then the band's rows of d; then the band of y from all channels of d. Rows of e wait in a ring, so that only the first
rows of a part, which its neighbour makes too, are computed twice. Without a projection threads share the channels of d.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...conv_chain import places_of, stages_of, with_stage_layouts
from ...knobs import Knobs
from ...targets.target import Target
from ...workload import Workload
from ..kernel import Kernel, balanced, starts, writing
from ..template import NotApplicable, template
from . import conv2d, depthwise_conv2d
from .chain_rows import Ring, StageKernel, end_of_rows_read, first_row_read, rows_read
from .partition import Grid
from .register_tile import tile_shape
from .window import Convolution, Place

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for what the stages ask for alone."""
    between = conv2d.blocked(target.lanes())
    stages = [_stage_layouts(stage, target) for stage in stages_of(work, between)]
    return with_stage_layouts(work, stages)


def is_depthwise(stage: Workload) -> bool:
    """Return whether every channel of a convolution is a group of its own."""
    return bool(stage.attr("groups") == stage.inputs[0].shape[1] == stage.inputs[1].shape[0] > 1)


def _stage_layouts(stage: Workload, target: Target) -> Workload:
    chosen = (depthwise_conv2d if is_depthwise(stage) else conv2d).layouts(stage, target)
    return chosen


@template("conv2d_chain", arch="x86", dtypes=("float32",), layouts=layouts)
def conv2d_chain(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Emit the chain."""
    stages = stages_of(work, conv2d.blocked(target.lanes()))
    with writing(work) as kernel:
        _ChainWriter(kernel, stages, target, knobs).write()
    assert kernel.function is not None
    return kernel.function


class _ChainWriter:
    def __init__(self, kernel: Kernel, stages: list[Workload], target: Target, knobs: Knobs) -> None:
        self.kernel, self.stages, self.target = kernel, stages, target
        self.middle = next(at for at, stage in enumerate(stages) if is_depthwise(stage))
        self.convs = [Convolution.of(stage, depthwise=at == self.middle) for at, stage in enumerate(stages)]
        self.expands, self.projects = self.middle == 1, self.middle + 1 < len(stages)
        self.conv = self.convs[self.middle]
        rows, columns = tile_shape(target)
        self.rows_of_tile, self.columns = rows, columns
        import os
        self.band = knobs.choice("band", (1, 2, 4, 8, 16), default=int(os.environ.get("BAND", "0")) or 4)
        self.one_core = replace(target, facts=replace(target.facts, cores=1))

    def write(self) -> None:
        conv = self.conv
        hidden = starts(balanced(conv.out_blocks, self._vectors(self.convs[0]))) if self.expands else [(0, 1, conv.out_blocks)]
        cores = self.target.facts.cores
        if self.projects:
            grid = Grid.of((conv.batch, 1, 1, conv.out_height), cores, True, 1)
            with T.parallel(0, grid.tasks) as task:
                image, _, _, part = grid.place(task)
                self._part(image, grid, part, hidden, conv.out_blocks, None)
            return
        for first, size, count in hidden:
            grid = Grid.of((conv.batch, 1, count, conv.out_height), cores, False, 1)
            with T.parallel(0, grid.tasks) as task:
                image, _, at, part = grid.place(task)
                self._part(image, grid, part, [(at * size + first, size, 1)], size, at * size + first)

    def _vectors(self, conv: Convolution) -> int:
        limit = self.rows_of_tile * self.columns
        widest = max(size for size, _ in balanced(conv.out_width, self.rows_of_tile))
        return min(conv.out_blocks, max(self.columns, min(4, limit // widest)))

    def _part(self, image: Expr, grid: Grid, part: Expr, hidden, blocks: int, origin) -> None:
        conv = self.conv
        start = part * conv.out_height // grid.parts
        present = (part + 1) * conv.out_height // grid.parts - start
        least, most = conv.out_height // grid.parts, -(-conv.out_height // grid.parts)
        bands = min(least, -(-most // self.band))
        band_rows = -(-most // bands)
        lanes = conv.lanes
        self.ring = Ring(blocks, rows_read(conv, band_rows), conv.width, lanes) if self.expands else None
        self.held = Ring(blocks, band_rows, conv.out_width, lanes) if self.projects else None
        if origin is not None and self.ring:
            self.ring.first_block = origin
        self._writers(band_rows)
        with T.serial(0, bands) as band:
            first = start + band * present // bands
            end = start + (band + 1) * present // bands
            for block, size, count in hidden:
                with T.serial(0, count) as at:
                    self._hidden(image, at * size + block, size, (first, end), band)
            if self.projects:
                self._project(image, first, end, band_rows)

    def _writers(self, band_rows: int) -> None:
        places = places_of(self.kernel.work)
        data = self.kernel.inputs[0]
        self.writers = []
        for at, stage in enumerate(self.stages):
            last = at == len(self.stages) - 1
            output = self.kernel.outputs[0] if last else (self.ring if at < self.middle else self.held)
            inputs = [data, *(self.kernel.inputs[each] for each in places[at])]
            kind = depthwise_conv2d.DepthwiseWriter if at == self.middle else conv2d.DirectWriter
            target = self.target if last else self.one_core
            self.writers.append(kind(StageKernel(stage, inputs, output), self.convs[at], target))
            data = output

    def _hidden(self, image: Expr, block: Expr, size: int, rows, band: Expr) -> None:
        first, end = rows
        if self.expands:
            low, high = first_row_read(self.conv, first), end_of_rows_read(self.conv, end)
            done = end_of_rows_read(self.conv, first)
            low = tirx.Select(band == 0, low, tirx.max(low, done))
            self._rows(self.writers[0], image, block, size, (low, tirx.max(0, high - low)), rows_read(self.conv, self.ring.rows))
        with T.serial(0, size) as each:
            self._rows(self.writers[self.middle], image, block + each, 1, (first, end - first), 1)

    def _project(self, image: Expr, first: Expr, end: Expr, band_rows: int) -> None:
        conv = self.convs[-1]
        for block, size, count in starts(balanced(conv.out_blocks, self._vectors(conv))):
            with T.serial(0, count) as at:
                self._rows(self.writers[-1], image, at * size + block, size, (first, end - first), band_rows)

    def _rows(self, writer, image: Expr, block: Expr, vectors: int, rows, most: int) -> None:
        tile = self.rows_of_tile * self.columns // max(vectors, self.columns) if vectors > 1 else self.rows_of_tile
        tiles = writer.column_tiles(tile)
        writer.sums = writer.accumulators(tile, vectors)
        writer.turns = most * len(tiles)
        writer.rows(Place(image, 0, block, rows[0], 0, 0), rows[1], tiles)
