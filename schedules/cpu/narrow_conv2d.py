"""Direct convolution to few channels, from blocked data to a planar output, with its epilogue.

Data [N, IC/b, H, W, b], weights [OC, IC/b, KH, KW, b], output [N, OC, OH, OW], b the lanes of a vector. Heads that make
an image or a mask have one to a few channels: vectors of output channels would stay almost empty. Here the lanes are
input channels, and a tile's partial sums are folded at its end (``folded_tile.py``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...layout import Layout
from ...targets.target import Target
from ...workload import Workload
from ..kernel import Kernel, balanced, starts, writing
from ..template import NotApplicable, template
from .conv2d import blocked, multiply_adds
from .folded_tile import FOLD_CYCLES, FoldedTile, folded_shape
from .register_tile import EXACT_DEPTH, MULTIPLY_ADDS_PER_CYCLE, RegisterTile
from .window import Convolution, Place, WindowWriter

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for blocked data, weights in vectors of input channels, and a planar output."""
    lanes = target.lanes()
    out_channels, in_channels, *_ = work.inputs[1].shape
    if work.attr("groups") > 1 or in_channels * 2 <= lanes or out_channels >= lanes:
        raise NotApplicable
    others: tuple[Layout | None, ...] = (None,) * (len(work.inputs) - work.anchor_arity)
    return work.with_layouts((blocked(lanes), Layout("OIHW", f"OIHW{lanes}i"), *others), (None,))


def cost(work: Workload, target: Target) -> float:
    """Return estimated cycles: multiply-adds of vectors, and the folding of each result."""
    out_channels, in_channels, *_ = work.inputs[1].shape
    batch, _, height, width = work.output.shape
    steps = multiply_adds(work) // in_channels * -(-in_channels // target.lanes())
    return steps / MULTIPLY_ADDS_PER_CYCLE + batch * out_channels * height * width * FOLD_CYCLES


@template("conv2d", arch="x86", dtypes=("float32",), layouts=layouts, cost=cost, symbolic=True)
def narrow_conv2d(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Keep pixels x output channels in registers, one vector of partial sums each, while data and taps stream past."""
    weight = work.inputs[1].layout
    if type(weight) is not Layout or weight.name != f"OIHW{target.lanes()}i" or work.output.layout is not None:
        raise NotApplicable
    conv = Convolution.of(work)
    default_tile, default_vectors = folded_shape(target, conv.out_blocks)
    vectors = knobs.choice("vectors", (1, 2, 3, 4), default=default_vectors)
    tile = knobs.choice("tile", range(1, min(target.lanes(), 15) + 1), default=default_tile)
    with writing(work) as kernel:
        _NarrowWriter(kernel, conv, target).write(vectors, tile)
    assert kernel.function is not None
    return kernel.function


class _NarrowWriter(WindowWriter):
    """Sums over blocks of input channels and taps, a vector of channels' elements times a vector of their weights."""

    def __init__(self, kernel: Kernel, conv: Convolution, target: Target) -> None:
        self.vector = target.lanes()
        self.in_blocks = -(-conv.in_channels // self.vector)
        super().__init__(kernel, replace(conv, in_channels=self.in_blocks * self.vector), target)

    def accumulators(self, rows: int, vectors: int) -> RegisterTile:
        """Return the sums of a tile."""
        height, width = self.conv.kernel
        return FoldedTile(rows, vectors, self.vector, self.in_blocks * height * width)

    def sum_blocks(self, place: Place, tap: int | None, pixels: list[int] | None) -> None:
        """Loop over blocks of input channels and the window."""
        taps = self.conv.kernel[0] * (self.conv.kernel[1] if tap is None else 1)
        for first, size, count in starts(balanced(self.in_blocks, max(1, EXACT_DEPTH // taps))):
            with T.serial(0, count) as part:
                with T.serial(0, size) as block:
                    self._window(place, part * size + block + first, tap, pixels)
                self.sums.flush()

    def _window(self, place: Place, block: Expr, tap: int | None, pixels: list[int] | None) -> None:
        self.each_tap(place, tap, lambda taps: self._step(place, block, taps, pixels))

    def _step(self, place: Place, block: Expr, taps: tuple[Expr, Expr], pixels: list[int] | None) -> None:
        self.sums.multiply_add(
            lambda pixel, lane: self.data[(place.image, block, *self.data_pixel(place, pixel, *taps), lane)],
            lambda vector, lane: self.weight[(place.block + vector, block, *taps, lane)],
            pixels,
        )
