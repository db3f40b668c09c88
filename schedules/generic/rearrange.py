"""Joined, cut, padded, repeated and mirrored tensors, row-major or in channel blocks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...channel_mix import Mix, mixes
from ...knobs import Knobs
from ...rearrangement import FILLED, Rearrangement, Run, by_operand, whole
from ...targets.target import Target
from ...workload import Workload
from ..kernel import Kernel, writing
from ..low_precision import store_element
from ..strided_copy import vector_index
from ..strides import axis_strides
from ..template import NotApplicable, template
from ..vectors import each_vector, flat_view, lane_loop, nest, worth_sharing
from .transpose import copy_lanes

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any


@dataclass(frozen=True)
class Segment:
    """Neighbouring results along an axis: from ``start`` on, a run of places in one operand."""

    start: int
    operand: int
    run: Run


@template("rearrange", symbolic=True)
def rearrange(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Copy piece by piece, a piece being a run along each axis; the innermost run goes in vectors.

    In channel blocks a vector is one pixel's block. Where blocks of result and operands do not match, each result is
    mixed from the two or more vectors that hold its channels. Rows are shared among threads.
    """
    moves = Rearrangement.of(dict(work.attrs))
    layout = work.output.layout
    operands = work.inputs[: work.anchor_arity]
    if any(each.layout != layout or each.dtype != operands[0].dtype for each in operands):
        raise NotApplicable
    with writing(work) as kernel:
        (_Blocks if layout else _Rows)(kernel, target, moves).write()
    assert kernel.function is not None
    return kernel.function


def segments_of(work: Workload, moves: Rearrangement, axis: int) -> list[Segment]:
    """Return the segments of an axis, in order."""
    sizes = [each.shape[axis] for each in work.inputs[: work.anchor_arity]] if axis == moves.axis else None
    if sizes and moves.runs[axis] == whole(sum(sizes)):
        return [Segment(sum(sizes[:at]), at, Run(size, 0)) for at, size in enumerate(sizes) if size != 0]
    found, start = [], 0
    runs = by_operand(moves.places(axis), sizes) if sizes else [(-1, run) for run in moves.runs[axis]]
    for operand, run in runs:
        found.append(Segment(start, operand, run))
        start += run.count
    return found


class _Writer:
    """What both kinds of kernel share.

    Attributes:
        strides: of each operand, then of the output, by (axis, whether its block).
    """

    def __init__(self, kernel: Kernel, target: Target, moves: Rearrangement) -> None:
        self.kernel, self.target, self.moves, self.work = kernel, target, moves, kernel.work
        arity = self.work.anchor_arity
        self.sources = [flat_view(buffer) for buffer in kernel.inputs[:arity]]
        self.out = flat_view(kernel.outputs[0])
        self.dtype = self.work.inputs[0].dtype
        self.strides = [axis_strides(each) for each in (*self.work.inputs[:arity], self.work.output)]
        self.rank = len(self.work.output.shape)
        self.parallel = worth_sharing(math.prod(self.work.output.stored_shape))
        self.fill = tirx.const(moves.fill, self.dtype) if self.dtype != "bool" else tirx.const(False, "bool")

    def pieces(self, axes: Sequence[int]) -> Iterator[tuple[Segment, ...]]:
        """Yield every choice of a segment along each of these axes."""
        along = [segments_of(self.work, self.moves, axis) for axis in axes]
        return itertools.product(*along)


def place_of(run: Run, index: Expr) -> Expr:
    """Return the place of a run's result."""
    scaled = index * run.step
    if run.every > 1:
        scaled = tirx.floordiv(scaled + run.shift, run.every)
    return scaled + run.first


class _Rows(_Writer):
    def write(self) -> None:
        """Emit a nest of loops for every piece."""
        for piece in self.pieces(range(self.rank)):
            self._piece(piece)

    def _piece(self, piece: tuple[Segment, ...]) -> None:
        operand = max(each.operand for each in piece)
        filled = any(each.run.first == FILLED for each in piece)
        joined = self._joined(piece, operand)
        extents = [math.prod(piece[axis].run.count for axis in axes) for axes in joined]
        parallel = worth_sharing(math.prod(extents))
        shares = parallel and math.prod(extents[:-1]) == 1
        with nest(extents[:-1], parallel and not shares, self.target.facts.cores) as outer:

            def vector(start: Expr, width: int) -> None:
                with lane_loop(width) as lane:
                    indices = [*outer, start + lane][-len(extents) :]
                    self._store(piece, operand, joined, indices, filled)

            each_vector(extents[-1], copy_lanes(self.dtype, self.target), vector, shares)

    def _joined(self, piece: tuple[Segment, ...], operand: int) -> list[tuple[int, ...]]:
        """Return the axes of each loop: those that both sides step through as through one share it."""
        loops: list[tuple[int, ...]] = []
        for axis, segment in enumerate(piece):
            run = segment.run
            plain = run.step == run.every == 1 and run.first != FILLED and run.count != 1
            sizes = (self.work.inputs[operand].shape[axis], self.work.output.shape[axis])
            if loops and not self.work.epilogue and plain and sizes == (run.count, run.count):
                loops[-1] = (*loops[-1], axis) if self._steps_by_one(piece[loops[-1][-1]].run) else loops[-1]
                if loops[-1][-1] == axis:
                    continue
            loops.append((axis,))
        return loops

    @staticmethod
    def _steps_by_one(run: Run) -> bool:
        return (run.step == run.every == 1 or run.count == 1) and run.first != FILLED

    def _store(
        self,
        piece: tuple[Segment, ...],
        operand: int,
        joined: list[tuple[int, ...]],
        indices: list[Expr],
        filled: bool,
    ) -> None:
        source: Expr = tirx.const(0, "int32")
        destination: Expr = tirx.const(0, "int32")
        logical: list[Expr] = []
        for axes, index in zip(joined, indices, strict=True):
            first, last = piece[axes[0]], axes[-1]
            # A loop over several axes counts in steps of the last; all but the first begin at 0.
            inner = math.prod(piece[axis].run.count for axis in axes[1:])
            place = index + first.run.first * inner if len(axes) > 1 else place_of(first.run, index)
            source = source + place * self.strides[operand][last, False]
            destination = destination + (index + first.start * inner) * self.strides[-1][last, False]
            logical.append(index + first.start)
        value = self.fill if filled else self.sources[operand][source]
        store_element(self.out, self.kernel.finish(value, logical) if self.work.epilogue else value, [destination])


class _Blocks(_Writer):
    def __init__(self, kernel: Kernel, target: Target, moves: Rearrangement) -> None:
        super().__init__(kernel, target, moves)
        layout = self.work.output.layout
        assert layout
        self.blocked, self.block = layout.dims[-1]
        plain = [axis for axis, _ in layout.dims[:-1]]
        joins = self.work.anchor_arity > 1 and moves.axis != self.blocked
        if not self.block or plain != list(range(self.rank)) or joins:
            raise NotApplicable
        self.axes = [axis for axis in plain if axis != self.blocked]

    def write(self) -> None:
        """Emit, for every piece of an image, the loops over its rows, each row with all its blocks of channels."""
        arity = self.work.anchor_arity
        channels = [each.shape[self.blocked] for each in self.work.inputs[:arity]]
        groups = mixes(self.moves.places(self.blocked), channels, self.block)
        for piece in self.pieces(self.axes):
            extents = [each.run.count for each in piece]
            with nest(extents[:-1], self.parallel, self.target.facts.cores) as outer:
                for mix in groups:
                    with ExitStack() as stack:
                        step = stack.enter_context(T.serial(0, mix.count)) if mix.count > 1 else 0
                        column = stack.enter_context(T.serial(0, extents[-1]))
                        self._vector(piece, mix, step, [*outer, column][-len(extents) :])

    def _vector(self, piece: tuple[Segment, ...], mix: Mix, step: Expr, indices: list[Expr]) -> None:
        filled = any(each.run.first == FILLED for each in piece)
        value: Expr = tirx.Broadcast(self.fill if filled else tirx.const(0, self.dtype), self.block)
        for source in mix.sources if not filled else ():
            strides = self.strides[source.operand]
            place = (step + source.block) * strides[self.blocked, False]
            for axis, segment, index in zip(self.axes, piece, indices, strict=True):
                place = place + place_of(segment.run, index) * strides[axis, False]
            loaded = self.sources[source.operand][vector_index(place, self.block)]
            value = loaded if source.whole else tirx.Shuffle([value, T.bind(loaded)], list(source.lanes))
            value = T.bind(value)
        logical: list[Expr] = [segment.start + index for segment, index in zip(piece, indices, strict=True)]
        place = (step + mix.block) * self.strides[-1][self.blocked, False]
        for axis, index in zip(self.axes, logical, strict=True):
            place = place + index * self.strides[-1][axis, False]
        self._store(value, place, logical, (step + mix.block) * self.block)

    def _store(self, value: Expr, place: Expr, logical: list[Expr], channel: Expr) -> None:
        """Store a vector; the epilogue and the zeros of the padding are applied lane by lane."""
        padded = self.work.output.shape[self.blocked] % self.block
        if not self.work.epilogue and not padded:
            store_element(self.out, value, [vector_index(place, self.block)])
            return
        row = T.alloc_buffer((self.block,), self.dtype)
        T.buffer_store(row, value, [vector_index(0, self.block)])
        with lane_loop(self.block) as lane:
            at = list(logical)
            at.insert(self.blocked, channel + lane)
            store_element(self.out, self.kernel.finish(row[lane], at), [place + lane])
