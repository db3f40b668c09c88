"""Attention in one kernel: softmax(program(q k^T)) v, its scores never written further than the nearest caches.

For a few rows of queries at a time, as many as a register tile has, the scores against all keys are computed into a
small buffer, turned into probabilities there and multiplied with the values (the blocking of scores is that of Dao et
al., FlashAttention, 2022; on a core with a large second-level cache whole rows of scores fit, so that no running
maximum is needed).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...targets.target import Target
from ...workload import PointwiseProgram, TensorType, Workload
from ..access import load
from ..bindings import Bindings
from ..folds import MAXIMUM, SUM, fold_run
from ..kernel import Kernel, balanced, starts, unrolled_loop, writing
from ..scalar import evaluate
from ..strided_copy import StridedCopy
from ..strides import Loop, row_major
from ..template import NotApplicable, template
from ..transcendental import exp_nonpositive
from ..vectors import flat_view, lane_loop, powers_of_two
from .matmul import stored, unravel
from .register_tile import RegisterTile, tile_shape

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any

#: Rows of queries for which keys packed once more by another thread cost little.
_ROWS_PER_THREAD = 64


@dataclass(frozen=True)
class _Shapes:
    """Logical sizes, after the transposes: q [batch, rows, depth], k [batch, depth, keys], v [batch, keys, columns].

    Attributes:
        batch: leading dimensions of the result; those of q, k and v broadcast to them.
        result: the result's shape before it is transposed.
    """

    batch: tuple[int, ...]
    rows: int
    depth: int
    keys: int
    columns: int
    result: tuple[int, ...]

    @staticmethod
    def of(work: Workload) -> _Shapes:
        """Raises NotApplicable where the values have batches that the scores lack."""
        q, k, v = (_logical(operand, axes) for operand, axes in zip(work.inputs, _operand_axes(work), strict=False))
        result = stored(work.output.shape, work.attr("out_axes"))
        scores = (*result[:-1], k[-1])
        lead = len(result) - 2
        for axis in range(lead):
            sizes = [shape[axis - lead - 2] for shape in (q, k) if axis - lead - 2 >= -len(shape)]
            if result[axis] not in (*sizes, 1):
                raise NotApplicable
        return _Shapes(result[:-2], scores[-2], q[-1], scores[-1], v[-1], result)

    @property
    def scores(self) -> tuple[int, ...]:
        """The shape of the scores."""
        return (*self.result[:-1], self.keys)


def _operand_axes(work: Workload) -> tuple[tuple[int, ...], ...]:
    return work.attr("q_axes"), work.attr("k_axes"), work.attr("v_axes")


def _logical(operand: TensorType, axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(operand.shape[axis] for axis in axes)


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for row-major operands, raise NotApplicable for what the template does not make."""
    if {each.dtype for each in (*work.inputs[:3], work.outputs[0])} != {"float32"}:
        raise NotApplicable
    if any(program.steps and program.steps[-1].dtype != "float32" for program in work.inner):
        raise NotApplicable
    _Shapes.of(work)
    return work


@template("attention", arch="x86", layouts=layouts)
def attention(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Compute rows of scores in cache, softmax them, multiply with the values.

    Batches are shared among threads, and chunks of queries where batches are too few for the cores. Keys are packed for
    each batch into panels of one vector of keys; values are read in place when their columns are vectors in memory.
    """
    layouts(work, target)
    rows, vectors = tile_shape(target)
    tile = knobs.choice("tile", range(1, 16), default=rows)
    width = knobs.choice("vectors", (1, 2, 3, 4), default=vectors)
    unroll = knobs.choice("unroll", (1, 2, 4, 8), default=4)
    with writing(work) as kernel:
        _Writer(kernel, target, tile, width, unroll).write()
    assert kernel.function is not None
    return kernel.function


class _Operand:
    """A matrix per batch, read through its transpose: element [batch, row, column], all logical."""

    def __init__(self, buffer: Any, tensor: TensorType, axes: Sequence[int], batch: tuple[int, ...]) -> None:
        self.view = flat_view(buffer)
        strides = [row_major(tensor.shape)[axis] for axis in axes]
        *lead, self.rows, self.columns = _logical(tensor, axes)
        *outer, self.row_stride, self.column_stride = strides
        self._batch_strides = [0] * (len(batch) - len(lead)) + [
            0 if size == 1 else stride for size, stride in zip(lead, outer, strict=True)
        ]

    def base(self, batch: Sequence[Expr]) -> Expr:
        """Return where the matrix of a batch begins."""
        terms = [index * stride for index, stride in zip(batch, self._batch_strides, strict=True) if stride]
        return sum(terms, tirx.const(0, "int32"))

    def element(self, base: Expr, row: Expr, column: Expr) -> Expr:
        """Return an element of the matrix that begins at ``base``."""
        return self.view[base + row * self.row_stride + column * self.column_stride]


class _Panels:
    """The second operand of a product: vectors of columns, in place or packed to [columns / lanes, rows, lanes]."""

    def __init__(self, operand: _Operand, lanes: int) -> None:
        self.operand, self.lanes = operand, lanes
        self.blocks = -(-operand.columns // lanes)
        self.packs = operand.column_stride != 1 or operand.columns % lanes != 0
        self._panel: Any = None
        self._base: Expr = 0

    def open(self, batch: Sequence[Expr]) -> None:
        """Begin a batch: pack its matrix where that is needed; columns past the last are zero."""
        operand, lanes = self.operand, self.lanes
        self._base = operand.base(batch)
        if not self.packs:
            return
        self._panel = T.alloc_buffer((self.blocks, operand.rows, lanes), "float32")
        full, rest = divmod(operand.columns, lanes)
        across, down = operand.column_stride, operand.row_stride
        depth = Loop(operand.rows, (down, lanes), ())
        if full:
            block = Loop(full, (across * lanes, operand.rows * lanes), ())
            self._copy([block, Loop(lanes, (across, 1), ()), depth], 0)
        if rest:
            self._copy([Loop(rest, (across, 1), ()), depth], full)
            with T.serial(0, operand.rows) as row:
                for start, _, width in _vectors(rest, lanes, lanes):
                    with lane_loop(width) as lane:
                        T.buffer_store(self._panel, tirx.const(0.0, "float32"), [full, row, lane + start])

    def _copy(self, loops: list[Loop], block: int) -> None:
        rows, across = self.operand.rows, self.operand.column_stride
        base = (self._base + block * self.lanes * across, tirx.const(block * rows * self.lanes, "int32"))
        StridedCopy(self.operand.view, flat_view(self._panel), loops, self.lanes, base=base, parallel=False).emit()

    def vector(self, block: Expr, row: Expr, lane: Expr) -> Expr:
        """Return a lane of one vector of columns of a row."""
        if self.packs:
            return self._panel[block, row, lane]
        return self.operand.element(self._base, row, block * self.lanes + lane)


def _vectors(start: int, stop: int, lanes: int) -> list[tuple[int, int, int]]:
    """Cut start..stop into single vectors (start, 1, lanes) whose widths are powers of two."""
    return [
        (start + first + at * width, 1, width)
        for first, count, width in powers_of_two(stop - start, lanes)
        for at in range(count)
    ]


class _Writer:
    """Emits one attention."""

    def __init__(self, kernel: Kernel, target: Target, tile: int, vectors: int, unroll: int) -> None:
        work = kernel.work
        self.kernel, self.tile, self.unroll = kernel, tile, unroll
        self.lanes, self.cores = target.lanes(), target.facts.cores
        self.shapes = shapes = _Shapes.of(work)
        q, k, v = (
            _Operand(buffer, tensor, axes, shapes.batch)
            for buffer, tensor, axes in zip(kernel.inputs, work.inputs, _operand_axes(work), strict=False)
        )
        self.q, self.k, self.v = q, _Panels(k, self.lanes), _Panels(v, self.lanes)
        self.vectors = vectors
        self.on_scores, self.on_weights = work.inner
        split = 2 + self.on_scores.operands
        extra = list(zip(kernel.inputs, work.inputs, strict=True))
        self.score_operands, self.weight_operands = extra[3:split], extra[split : work.anchor_arity]

    def write(self) -> None:
        """Emit the loops: batch and chunk of queries > tile of rows > scores, softmax, values."""
        shapes = self.shapes
        batches = math.prod(shapes.batch)
        runs = starts(balanced(shapes.rows, self.tile))
        chunks = self._chunks(batches)
        with T.parallel(0, batches * chunks) as index:
            chunk, batch = index % chunks, unravel(index // chunks, shapes.batch)
            self.k.open(batch)
            self.v.open(batch)
            base = T.bind(self.q.base(batch)) if shapes.batch else tirx.const(0, "int32")
            for first, size, count in runs:
                begin = chunk * count // chunks
                with T.serial(0, (chunk + 1) * count // chunks - begin) as at:
                    self._rows(batch, base, (begin + at) * size + first, size)

    def _chunks(self, batches: int) -> int:
        """Return into how many parts the queries of a batch are cut, so that the cores have even work."""
        if self.cores == 1 or batches % self.cores == 0 or batches >= 8 * self.cores:
            return 1
        wanted = -(-4 * self.cores // batches)
        return max(1, min(wanted, self.shapes.rows // _ROWS_PER_THREAD))

    def _rows(self, batch: list[Expr], base: Expr, row: Expr, rows: int) -> None:
        """Emit a tile of rows. A row of scores has a vector more than it needs: rows in one cache set would collide."""
        width = (self.k.blocks + 1) * self.lanes
        self.scores = T.alloc_buffer((rows, width), "float32")
        self.scale = T.alloc_buffer((rows,), "float32")
        self._score_tiles(batch, base, row, rows)
        with T.serial(0, rows) as at:
            self._softmax(at)
            if self.on_weights.steps:
                self._weights(batch, row, at)
        for first, size, count in starts(balanced(self.v.blocks, self.vectors)):
            with T.serial(0, count) as block:
                self._value_tile(batch, row, rows, block * size + first, size)

    def _product(self, sums: RegisterTile, depth: int, element: Any, vector: Any) -> None:
        sums.clear(sums.rows)
        for start, steps, unroll in unrolled_loop(depth, self.unroll):
            with T.serial(0, steps) as outer, T.unroll(0, unroll) as inner:
                self._step(sums, outer * unroll + inner + start, element, vector)

    @staticmethod
    def _step(sums: RegisterTile, k: Expr, element: Any, vector: Any) -> None:
        sums.multiply_add(lambda at, _: element(at, k), lambda at, lane: vector(at, k, lane))

    def _score_tiles(self, batch: list[Expr], base: Expr, row: Expr, rows: int) -> None:
        """Emit the scores of a tile of rows with their program; those past the last key are minus infinity."""
        full, rest = divmod(self.shapes.keys, self.lanes)
        tiles = starts(balanced(full, self.vectors)) if full else []
        for first, size, count in tiles:
            with T.serial(0, count) as at:
                self._score_tile(batch, base, row, rows, (at * size + first, size), [(0, 1, self.lanes)])
        if rest:
            reach = self.lanes if self._same_for_all_keys(self.score_operands) else rest
            self._score_tile(batch, base, row, rows, (full, 1), _vectors(0, reach, self.lanes))
            with T.serial(0, rows) as at:
                for start, _, width in _vectors(rest, self.lanes, self.lanes):
                    with lane_loop(width) as lane:
                        column = full * self.lanes + start + lane
                        T.buffer_store(self.scores, MAXIMUM.identity("float32"), [at, column])

    def _score_tile(
        self,
        batch: list[Expr],
        base: Expr,
        row: Expr,
        rows: int,
        blocks: tuple[Expr, int],
        lanes: list[tuple[int, int, int]],
    ) -> None:
        block, vectors = blocks
        sums = RegisterTile(rows, vectors, self.lanes)
        self._product(
            sums,
            self.shapes.depth,
            lambda at, k: self.q.element(base, row + at, k),
            lambda at, k, lane: self.k.vector(block + at, k, lane),
        )
        with T.unroll(0, rows) as at:
            for vector in range(vectors):
                for start, _, width in lanes:
                    with lane_loop(width) as lane:
                        key = (block + vector) * self.lanes + start + lane
                        value = sums.sum(at, vector, lane + start)
                        value = self._apply(self.on_scores, value, self.score_operands, [*batch, row + at, key])
                        T.buffer_store(self.scores, value, [at, key])

    def _same_for_all_keys(self, operands: list[tuple[Any, TensorType]]) -> bool:
        return all(not tensor.shape or tensor.shape[-1] == 1 for _, tensor in operands)

    def _apply(
        self, program: PointwiseProgram, value: Expr, operands: list[tuple[Any, TensorType]], logical: list[Expr]
    ) -> Expr:
        loaded = [load(buffer, tensor, logical, self.shapes.scores) for buffer, tensor in operands]
        return evaluate(program, [value, *loaded])

    def _softmax(self, at: Expr) -> None:
        """Emit one row's exponentials, the greatest score subtracted first, and one over their sum."""
        scores, width = self.scores, self.k.blocks * self.lanes
        top = T.alloc_buffer((1,), "float32")
        T.buffer_store(top, fold_run(MAXIMUM, width, self.lanes, "float32", lambda key: scores[at, key]), [0])

        def exponential(key: Expr) -> Expr:
            bindings = Bindings()
            value = bindings.bind(scores[at, key] - top[0])
            T.buffer_store(scores, bindings.close(exp_nonpositive(bindings, value)), [at, key])
            return scores[at, key]

        total = fold_run(SUM, width, self.lanes, "float32", exponential)
        T.buffer_store(self.scale, tirx.const(1.0, "float32") / total, [at])

    def _weights(self, batch: list[Expr], row: Expr, at: Expr) -> None:
        """Emit the program on one row of probabilities."""
        same = self._same_for_all_keys(self.weight_operands)
        keys = self.k.blocks * self.lanes if same else self.shapes.keys
        for start, count, width in powers_of_two(keys, self.lanes):
            with T.serial(0, count) as step, lane_loop(width) as lane:
                key = step * width + start + lane
                value = self.scores[at, key] * self.scale[at]
                value = self._apply(self.on_weights, value, self.weight_operands, [*batch, row + at, key])
                T.buffer_store(self.scores, value, [at, key])

    def _value_tile(self, batch: list[Expr], row: Expr, rows: int, block: Expr, vectors: int) -> None:
        """Emit a tile of the result: whole vectors, but lane by lane what lies in the last, partly filled one."""
        sums = RegisterTile(rows, vectors, self.lanes)
        self._product(
            sums,
            self.shapes.keys,
            lambda at, k: self.scores[at, k],
            lambda at, k, lane: self.v.vector(block + at, k, lane),
        )

        def store(at: Expr, vector: int, lane: Expr) -> None:
            value = sums.sum(at, vector, lane)
            if not self.on_weights.steps:
                value = value * self.scale[at]
            index = [*batch, row + at, (block + vector) * self.lanes + lane]
            value = self.kernel.finish(value, index, self.shapes.result)
            T.buffer_store(self.kernel.outputs[0], value, [index[axis] for axis in self.kernel.work.attr("out_axes")])

        rest = self.shapes.columns % self.lanes
        if not rest:
            sums.each(store)
            return
        with T.unroll(0, rows) as at:
            for vector in range(vectors):
                with T.If(block + vector < self.v.blocks - 1):
                    with T.Then(), T.vectorized(0, self.lanes) as lane:
                        store(at, vector, lane)
                    with T.Else(), T.serial(0, rest) as lane:
                        store(at, vector, lane)
