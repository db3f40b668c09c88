"""The geometry of a chain of convolutions: its stages, their register tiles, the rows of a band, the tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from ...conv_chain import stages_of, with_stage_layouts
from ...targets.target import Target
from ...workload import Workload
from ..kernel import balanced
from ..template import NotApplicable
from . import conv2d, depthwise_conv2d
from .chain_rows import ring_rows, rows_read
from .partition import Grid, sizes
from .register_tile import tile_shape
from .window import Convolution

#: Rows of a band where the caches hold them; twice as many where a row is shorter than a register tile.
_BAND_ROWS = 4
#: Bytes a cycle between the second and the third level of caches.
THIRD_LEVEL_BYTES_PER_CYCLE = 40.0
#: Bytes a cycle of what all cores read at the same time from there.
_SHARED_BYTES_PER_CYCLE = 16.0


def is_depthwise(stage: Workload) -> bool:
    """Return whether every channel of a convolution is a group of its own."""
    return bool(stage.attr("groups") == stage.inputs[0].shape[1] == stage.inputs[1].shape[0] > 1)


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for what the stages' kernels ask for alone.

    Raises NotApplicable where Winograd's algorithm makes the first stage sooner, where a window of more than three
    columns wants tiles of its own, or where a later stage wants other data than channel blocks: those of few channels.
    """
    stages = stages_of(work, conv2d.blocked(target.lanes()))
    chosen = [(depthwise_conv2d if is_depthwise(each) else conv2d).layouts(each, target) for each in stages]
    first, *later = chosen
    taps, strides = first.inputs[1].shape[2:], tuple(first.attr("strides"))
    reducible = first.inputs[0].layout and taps == (3, 3) and strides == (1, 1)
    own = not is_depthwise(first) and (reducible or taps[1] > 3)
    if own or not all(each.inputs[0].layout for each in later):
        raise NotApplicable
    return with_stage_layouts(work, chosen)


@dataclass(frozen=True)
class Chain:
    """A chain of convolutions.

    Attributes:
        stages: the stages, each a workload of its own.
        convs: their geometry.
        middle: which of them is depthwise.
        target: the machine.
    """

    stages: tuple[Workload, ...]
    convs: tuple[Convolution, ...]
    middle: int
    target: Target

    @staticmethod
    def of(stages: list[Workload], target: Target) -> Chain:
        """Return the chain of these stages, whose operands have their layouts."""
        middle = next(at for at, stage in enumerate(stages) if is_depthwise(stage))
        convs = tuple(Convolution.of(stage, depthwise=at == middle) for at, stage in enumerate(stages))
        return Chain(tuple(stages), convs, middle, target)

    @property
    def depthwise(self) -> Convolution:
        """The depthwise stage."""
        return self.convs[self.middle]

    @property
    def expand(self) -> Convolution | None:
        """The stage before it."""
        return self.convs[0] if self.middle else None

    @property
    def project(self) -> Convolution | None:
        """The stage behind it."""
        return self.convs[-1] if self.middle + 1 < len(self.convs) else None

    def tile_of(self, conv: Convolution, vectors: int = 0) -> tuple[int, int]:
        """Return (pixels, vectors) of a stage's register tile; of short rows it takes more vectors.

        ``vectors`` tells how many it has where that is decided.
        """
        rows, columns = tile_shape(self.target)
        if conv is self.depthwise:
            return rows, 1
        widest = balanced(conv.out_width, rows)[0][0]
        wanted = min(4, max(columns, rows * columns // widest))
        vectors = vectors or min(conv.out_blocks, wanted)
        return rows * columns // max(vectors, columns), vectors

    @property
    def band(self) -> int:
        """Rows of a band: few, so that what waits between stages fills half the second-level cache at the most."""
        rows, _ = tile_shape(self.target)
        band = _BAND_ROWS if self.depthwise.out_width >= rows else 2 * _BAND_ROWS
        while band > 1 and 2 * self.waiting_bytes(band) > self.target.facts.l2_bytes:
            band //= 2
        return band

    def waiting_bytes(self, band: int) -> int:
        """Return the bytes that wait between the stages for a band of so many rows."""
        conv = self.depthwise
        rows = ring_rows(rows_read(conv, band)) * conv.width if self.expand else 0
        rows += ring_rows(band) * conv.out_width if self.project else 0
        blocks = conv.out_blocks if self.project else self.tile_of(self.convs[0])[1]
        return conv.itemsize * conv.lanes * rows * blocks

    @property
    def tiles(self) -> list[tuple[int, int]]:
        """How the depthwise stage's channel blocks are cut into tiles, as (size, count)."""
        return balanced(self.depthwise.out_blocks, self.tile_of(self.expand)[1] if self.expand else 1)

    @cached_property
    def by_rows(self) -> bool:
        """Whether threads share the rows and not the channels: with a projection always, else where they end sooner."""
        return bool(self.project) or self.cycles(True) <= self.cycles(False)

    def grid(self, tiles: int, by_rows: bool | None = None) -> Grid:
        """Return how tasks are dealt, of a nest over so many tiles of channels; with a projection a task has all."""
        conv, cores = self.depthwise, self.target.facts.cores
        rows_outside = self.by_rows if by_rows is None else by_rows
        least = min(conv.out_height, cores) if rows_outside and not self.project else 1
        return Grid.of((conv.batch, 1, 1 if self.project else tiles, conv.out_height), cores, rows_outside, least)

    def cycles(self, by_rows: bool) -> float:
        """Return the estimated cycles of the core that has most to do, and of reading what all cores read."""
        conv, cores = self.depthwise, self.target.facts.cores
        total = 0.0
        for size, count in [(conv.out_blocks, 1)] if self.project else self.tiles:
            grid = self.grid(count, by_rows)
            share = count * size / conv.out_blocks / grid.tiles / grid.images
            total += -(-grid.tasks // cores) * share * self._part_cycles(grid.parts)
        dense = [stage for stage in self.stages if not is_depthwise(stage)]
        read = [stage.inputs[1] for stage in dense] if by_rows else [self.stages[0].inputs[0]]
        stored = 4 * sum(math.prod(each.stored_shape) for each in read)
        return total + stored * (1 - 1 / cores) / _SHARED_BYTES_PER_CYCLE

    def stage_cycles(self, at: int) -> float:
        """Return the cycles of a stage alone on one core; both operands of a depthwise product are loaded."""
        conv = self.convs[at]
        if at != self.middle:
            return conv2d.products(self.stages[at], self.target)
        return float(conv.batch * conv.out_height * conv.out_width * conv.out_blocks * conv.kernel[0] * conv.kernel[1])

    def _part_cycles(self, parts: int) -> float:
        """Return the cycles for all images and channels of the part of the rows that takes longest."""
        conv = self.depthwise
        share = [max(sizes(conv.out_height, parts)) / conv.out_height] * len(self.stages)
        if self.expand:
            share[0] = max(_rows_of_part(conv, parts, part) for part in range(parts)) / conv.height
        return sum(self.stage_cycles(at) * each for at, each in enumerate(share))


def _rows_of_part(conv: Convolution, parts: int, part: int) -> int:
    """Return how many rows of the data a part of the rows of the result reads."""
    start, end = part * conv.out_height // parts, (part + 1) * conv.out_height // parts
    first = start * conv.strides[0] - conv.top
    last = (end - 1) * conv.strides[0] - conv.top + (conv.kernel[0] - 1) * conv.dilation[0]
    return max(0, min(conv.height, last + 1) - max(0, first))
