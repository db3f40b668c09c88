"""Maximum and average pooling of images, planar or in channel blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...layout import Layout
from ...targets.target import Target
from ...workload import Workload
from ..folds import MAXIMUM, SUM, Fold
from ..kernel import Kernel, writing
from ..template import NotApplicable, template
from ..vectors import lane_loop, nest, worth_sharing

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any
_TILE = 4  # output columns whose windows share loads


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for channels in blocks of one vector where they fill half of one; bytes in those of a vector of float32.

    Not where an operand of lower rank has channels that end within a block: it has no padding to read there.
    """
    lanes = min(target.lanes(work.output.dtype), target.lanes())
    channels = work.output.shape[1]
    extra = work.inputs[work.anchor_arity :]
    short = any(len(each.shape) == 3 and each.shape[0] == channels for each in extra)
    if channels * 2 < lanes or (short and channels % lanes):
        raise NotApplicable
    blocked = Layout("NCHW", f"NCHW{lanes}c")
    followers = [blocked if len(each.shape) == 4 and each.shape[1] == channels else None for each in extra]
    return work.with_layouts((blocked, *(None,) * (work.anchor_arity - 1), *followers), (blocked,))


@dataclass(frozen=True)
class _Axis:
    """One spatial axis: sizes of data and output, and the window along it."""

    size: int
    out_size: int
    window: int
    stride: int
    dilation: int
    before: int

    def taps(self, position: int) -> list[int]:
        """Return the steps of the window that meet data, at an output position known now."""
        first = position * self.stride - self.before
        return [tap for tap in range(self.window) if 0 <= first + tap * self.dilation < self.size]

    def bounds(self, position: Expr) -> tuple[Expr, Expr]:
        """Return first and end step of the window that meet data; numbers where no position clips."""
        first = position * self.stride - self.before
        reach = (self.out_size - 1) * self.stride - self.before + (self.window - 1) * self.dilation
        low: Expr = 0
        high: Expr = self.window
        if self.before:
            low = tirx.max(0, (self.dilation - 1 - first) // self.dilation)
        if reach >= self.size:
            high = tirx.min(self.window, (self.size - first + self.dilation - 1) // self.dilation)
        return low, high


@template("pool2d", layouts=layouts, symbolic=True)
def pool2d(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Reduce the window of each output pixel in registers, one vector of channels or one element at a time.

    Order: image, channel block and row (threads) > run of columns > row of the window > column of the window. Rows clip
    the window's height at run time; columns whose window crosses a border leave out the steps outside.
    """
    data, output = work.inputs[0], work.output
    kind = work.attr("kind")
    if data.layout != output.layout or (data.layout and data.layout.dims[:-1] != Layout("NCHW", "NCHW").dims):
        raise NotApplicable
    if data.dtype != output.dtype and work.epilogue is None:
        raise NotApplicable
    if kind == "avg" and data.dtype not in ("float32", "float64"):
        raise NotApplicable
    with writing(work) as kernel:
        _Writer(kernel, MAXIMUM if kind == "max" else SUM).write(target.facts.cores)
    assert kernel.function is not None
    return kernel.function


class _Writer:
    def __init__(self, kernel: Kernel, fold: Fold) -> None:
        self.kernel, self.fold, work = kernel, fold, kernel.work
        self.data, self.dtype = kernel.inputs[0], work.inputs[0].dtype
        self.lanes = work.inputs[0].layout.blocks[1] if work.inputs[0].layout else 1
        sizes, outs = work.inputs[0].shape[2:], work.output.shape[2:]
        geometry = zip(
            sizes, outs, work.attr("window"), work.attr("strides"), work.attr("dilation"), work.attr("padding")[:2],
            strict=True,
        )  # fmt: skip
        self.rows, self.columns = (_Axis(*each) for each in geometry)
        self.include_padding = work.attr("count_include_pad")

    def write(self, cores: int) -> None:
        """Emit the loops over images, channel blocks and rows, and each row's runs of columns."""
        batch, channels, height, width = self.kernel.work.output.stored_shape[:4]
        effort = batch * channels * height * width * self.rows.window * self.columns.window * self.lanes
        with nest([batch, channels, height], worth_sharing(effort), cores) as (image, block, row):
            for start, count, taps in self._runs(width):
                whole = count // _TILE
                if whole:
                    with T.serial(0, whole) as run:
                        self._tile((image, block, row), run * _TILE + start, _TILE, taps)
                if count % _TILE:
                    self._tile((image, block, row), start + whole * _TILE, count % _TILE, taps)

    def _runs(self, width: int) -> list[tuple[int, int, list[int]]]:
        """Cut a row into runs of columns with the same steps of the window: (start, count, steps)."""
        runs: list[tuple[int, int, list[int]]] = []
        for column in range(width):
            taps = self.columns.taps(column)
            if runs and runs[-1][2] == taps:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1, taps)
            else:
                runs.append((column, 1, taps))
        return runs

    def _tile(self, place: Sequence[Expr], column: Expr, count: int, taps: list[int]) -> None:
        image, block, row = place
        low, high = self.rows.bounds(row)
        sums = T.alloc_buffer((count, self.lanes), self.dtype)
        with T.unroll(0, count) as at, lane_loop(self.lanes) as lane:
            T.buffer_store(sums, self.fold.identity(self.dtype), [at, lane])
        with T.serial(low, high) as step:
            y = row * self.rows.stride - self.rows.before + step * self.rows.dilation
            for tap in taps:
                with T.unroll(0, count) as at, lane_loop(self.lanes) as lane:
                    x = (column + at) * self.columns.stride - self.columns.before + tap * self.columns.dilation
                    value = self.data[(image, block, y, x, lane)[: len(self.data.shape)]]
                    T.buffer_store(sums, self.fold.combine(sums[at, lane], value), [at, lane])
        with T.unroll(0, count) as at, lane_loop(self.lanes) as lane:
            value = self._finished(sums[at, lane], low, high, taps)
            logical = [image, block * self.lanes + lane, row, column + at]
            self.kernel.store(self.kernel.finish(value, logical), logical)

    def _finished(self, value: Expr, low: Expr, high: Expr, taps: list[int]) -> Expr:
        """Return the average from the sum; a maximum as it is."""
        if self.fold is MAXIMUM:
            return value
        if self.include_padding:
            return value * tirx.const(1.0 / (self.rows.window * self.columns.window), self.dtype)
        count = (high - low) * max(1, len(taps))
        if isinstance(count, int):
            return value * tirx.const(1.0 / count, self.dtype)
        return value / tirx.max(count, 1).astype(self.dtype)
