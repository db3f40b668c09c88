"""Convolutions around a depthwise one as one kernel: what they hand to one another never leaves a core's cache.

    x --dense (expand)--> e --depthwise--> d --pointwise (project)--> y        either end may be missing

Activations lie in channel blocks, weights as in the kernels of the stages alone. With a projection a thread makes rows
of y: for a band of rows and one tile of e's channels after the other those rows of e that are not there yet, then the
band's rows of d; then the band of y from all channels of d. Rows of e wait in a ring, so that only the first rows of a
thread's part, which its neighbour makes too, are computed twice. Without a projection threads share the rows
or the channels of d.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...conv_chain import places_of, stages_of
from ...knobs import Knobs
from ...targets.target import Target
from ...workload import Workload
from ..kernel import Kernel, balanced, starts, unrolled_loop, writing
from ..template import template
from .chain_geometry import Chain, layouts
from .chain_rows import Ring, StageKernel, end_of_rows_read, first_row_read, rows_read
from .conv2d import DirectWriter, blocked
from .depthwise_writer import DepthwiseWriter
from .partition import Grid
from .register_tile import NEAREST, prefetch_line
from .window import Place, WindowWriter

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any
#: Runs of channel tiles: (first block, blocks of a tile, how many tiles).
Tiles = list[tuple[Expr, int, int]]


@template("conv2d_chain", arch="x86", dtypes=("float32",), layouts=layouts)
def conv2d_chain(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Keep the rows between stages in the cache of the core that makes and reads them.

    Order: image > part of the rows > band > tile of e's channels, then row > run of columns for each stage; without a
    projection tile of channels > image > part of the rows > band.
    """
    chain = Chain.of(stages_of(work, blocked(target.lanes())), target)
    band = knobs.choice("band", (1, 2, 4, 8, 16), default=chain.band)
    with writing(work) as kernel:
        _ChainWriter(kernel, chain, target, band).write()
    assert kernel.function is not None
    return kernel.function


class _ExpandWriter(DirectWriter):
    """The first stage. Before it makes a row, ``claim`` may fetch what a later stage will write."""

    claim: Callable[[Place], None] | None = None

    def _row(self, place: Place, tiles: list[tuple[int, int]]) -> None:
        if self.claim:
            self.claim(place)
        super()._row(place, tiles)


class _ChainWriter:
    """Emits one chain."""

    def __init__(self, kernel: Kernel, chain: Chain, target: Target, band: int) -> None:
        self.kernel, self.chain, self.target, self.band = kernel, chain, target, band
        self.conv = chain.depthwise

    def write(self) -> None:
        """Emit the loop over tasks: parts of the rows, or tiles of channels, one nest for each size of tile."""
        conv, chain = self.conv, self.chain
        hidden = starts(chain.tiles)
        if chain.project:
            grid = chain.grid(1)
            with T.parallel(0, grid.tasks) as task:
                image, _, _, part = grid.place(task)
                self._part(image, (grid, part), conv.out_blocks, 0, hidden)
            return
        for first, size, count in hidden:
            grid = chain.grid(count)
            with T.parallel(0, grid.tasks) as task:
                image, _, at, part = grid.place(task)
                self._part(image, (grid, part), size, at * size + first, [(at * size + first, size, 1)])

    def _part(self, image: Expr, place: tuple[Grid, Expr], blocks: int, first_block: Expr, hidden: Tiles) -> None:
        """Emit one task: its rows, a band after the other. No band is empty, nor longer than the rows waited for."""
        conv, (grid, part) = self.conv, place
        start = part * conv.out_height // grid.parts
        present = (part + 1) * conv.out_height // grid.parts - start
        most = -(-conv.out_height // grid.parts)
        bands = min(conv.out_height // grid.parts, -(-most // self.band))
        rows = -(-most // bands)
        self._open_stages(rows, blocks, first_block)
        with T.serial(0, bands) as band:
            first = start + band * present // bands
            end = start + (band + 1) * present // bands
            for block, size, count in hidden:
                with T.serial(0, count) as at:
                    self._hidden(image, at * size + block, size, (first, end), band)
            if self.chain.project:
                for block, size, count in starts(balanced(*self._project_tiles())):
                    with T.serial(0, count) as at:
                        place_of_tile = Place(image, 0, at * size + block, first, 0, 0)
                        self._rows(self.stages[-1], place_of_tile, size, end - first, rows)

    def _project_tiles(self) -> tuple[int, int]:
        project = self.chain.project
        assert project is not None
        return project.out_blocks, self.chain.tile_of(project)[1]

    def _open_stages(self, rows: int, blocks: int, first_block: Expr) -> None:
        """Allocate the rows between the stages and open a writer for each stage; they run on one core."""
        conv, chain, last = self.conv, self.chain, len(self.chain.stages) - 1
        self.read = rows_read(conv, rows)
        between = [Ring(blocks, self.read, conv.width, conv.lanes, first_block)] if chain.expand else []
        between += [Ring(blocks, rows, conv.out_width, conv.lanes, first_block)] if chain.project else []
        buffers = [self.kernel.inputs[0], *between, self.kernel.outputs[0]]
        alone = replace(self.target, facts=replace(self.target.facts, cores=1))
        self.stages: list[WindowWriter] = []
        for at, (stage, places) in enumerate(zip(chain.stages, places_of(self.kernel.work), strict=True)):
            inputs = [buffers[at], *(self.kernel.inputs[each] for each in places)]
            kind = DepthwiseWriter if at == chain.middle else _ExpandWriter
            inner = StageKernel(stage, inputs, buffers[at + 1])
            self.stages.append(kind(inner, chain.convs[at], self.target if at == last else alone))

    def _hidden(self, image: Expr, block: Expr, size: int, rows: tuple[Expr, Expr], band: Expr) -> None:
        """Emit a tile of channels of e, as far as earlier bands have not made it, and those of d, for a band."""
        first, end = rows
        if self.chain.expand:
            high = end_of_rows_read(self.conv, end)
            low = first_row_read(self.conv, first)
            low = tirx.Select(band == 0, low, tirx.max(low, end_of_rows_read(self.conv, first)))
            expand = self.stages[0]
            assert isinstance(expand, _ExpandWriter)
            if not self.chain.project and self.target.facts.cores > 1:
                expand.claim = lambda place: self._claim(place, size)
            self._rows(expand, Place(image, 0, block, low, 0, 0), size, tirx.max(0, high - low), self.read)
        with T.serial(0, size) as each:
            place = Place(image, 0, block + each, first, 0, 0)
            self._rows(self.stages[self.chain.middle], place, 1, end - first, self.band)

    def _rows(self, stage: WindowWriter, place: Place, vectors: int, count: Expr, most: int) -> None:
        """Emit so many rows, ``most`` at the most, of a tile of one stage's channels."""
        tile, _ = self.chain.tile_of(stage.conv, vectors)
        tiles = stage.column_tiles(tile)
        stage.sums = stage.accumulators(tile, vectors)
        stage.turns = most * len(tiles)
        stage.rows(place, count, tiles)

    def _claim(self, place: Place, blocks: int) -> None:
        """Fetch, to write it, the row of the result that the depthwise stage will make of a row of e.

        Memory that another core has used last must be taken from its cache, which stores would wait for one by one.
        """
        conv = self.conv
        row = tirx.min(conv.out_height - 1, place.row // conv.strides[0])
        with T.serial(0, blocks) as block:
            for start, steps, unroll in unrolled_loop(conv.out_width, 8):
                with T.serial(0, steps) as outer, T.unroll(0, unroll) as inner:
                    index = [place.image, place.block + block, row, outer * unroll + inner + start, 0]
                    prefetch_line(self.kernel.outputs[0], index, NEAREST, write=True)
