"""The loops of an attention that keeps whole rows of scores in cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...targets.target import Target
from ...workload import PointwiseProgram, TensorType
from ..access import load
from ..bindings import Bindings
from ..folds import MAXIMUM, SUM, fold_run
from ..kernel import Kernel, balanced, starts, unrolled_loop
from ..low_precision import LowBuffer, dot, store_element
from ..scalar import evaluate
from ..transcendental import exp_nonpositive
from ..vectors import each_vector, extent, lane_loop
from .attention_operands import Operand, Panels, Shapes, cut_vectors, operand_axes
from .attention_pairs import PairedValues, depth_in_pairs, multiplies_all_pairs
from .matmul import unravel
from .register_tile import RegisterTile, multiplies_by_lane, multiply_add

Expr = Any
#: Tiles of rows as (first row, rows, how many).
Tiles = list[tuple[int, int, int]]

#: Rows of queries for which keys packed once more by another thread cost little.
_ROWS_PER_THREAD = 64
_LARGEST = 3.4028234663852886e38


def guards_against_nan(program: PointwiseProgram) -> bool:
    """Return whether a program is ``where(isnan(p), 0, p)``: rows that may see no key get zeros."""
    if program.operands != 1 or [step.op for step in program.steps] != ["const", "isnan", "where"]:
        return False
    zero, test, choice = program.steps
    return dict(zero.attrs)["value"] == 0 and test.args == (0,) and choice.args == (2, 1, 0)


class RowWriter:
    """Emits one attention: a register tile of rows at a time, its scores against all keys in a buffer.

    Probabilities are divided by their sum in the result, where there are fewer of them, unless a program wants them.
    """

    def __init__(self, kernel: Kernel, target: Target, tile: int, vectors: int, unroll: int) -> None:
        work = kernel.work
        self.kernel, self.tile, self.vectors, self.unroll = kernel, tile, vectors, unroll
        self.lanes, self.cores = target.lanes(), target.facts.cores
        self.by_lane = multiplies_by_lane(target)
        self.shapes = shapes = Shapes.of(work)
        q, k, v = (
            Operand(buffer, tensor, axes, shapes.batch)
            for buffer, tensor, axes in zip(kernel.inputs, work.inputs, operand_axes(work), strict=False)
        )
        self.on_scores, self.on_weights = work.inner
        self.guarded = guards_against_nan(self.on_weights)
        self.divided = bool(self.on_weights.steps) and not self.guarded
        pairs = multiplies_all_pairs(work, target)
        in_pairs = depth_in_pairs(q, k) if pairs else None
        self.score_step = dot if in_pairs else multiply_add
        self.q, k = in_pairs or (q, k)
        self.k = Panels(k, self.lanes)
        self.paired_values = pairs and not self.divided and PairedValues.fit(v, self.lanes)
        self.v = (PairedValues if self.paired_values else Panels)(v, self.lanes)
        split = 2 + self.on_scores.operands
        extra = list(zip(kernel.inputs, work.inputs, strict=True))
        self.score_operands, self.weight_operands = extra[3:split], extra[split : work.anchor_arity]
        self.batch: list[Expr] = []
        self.base: Expr = 0
        self.row: Expr = 0

    def write(self) -> None:
        """Emit the loops: batch and chunk of queries > block of rows > scores, softmax, values."""
        shapes = self.shapes
        batches = math.prod(shapes.batch)
        chunks = self.chunks(batches)
        with T.parallel(0, extent(batches * chunks)) as index:
            chunk, self.batch = index % chunks, unravel(index // chunks, shapes.batch)
            self.k.open(self.batch)
            self.v.open(self.batch)
            self.base = T.bind(self.q.base(self.batch))
            for first, size, count in self.blocks():
                begin = chunk * extent(count) // chunks
                with T.serial(0, (chunk + 1) * extent(count) // chunks - begin) as at:
                    self.row = (begin + at) * size + extent(first)
                    self.block(size)

    def chunks(self, batches: int) -> int:
        """Return into how many parts the queries of a batch are cut, so that the cores have even work."""
        if self.cores == 1 or batches % self.cores == 0 or batches >= 8 * self.cores:
            return 1
        wanted = -(-4 * self.cores // batches)
        return max(1, min(wanted, self.shapes.rows // _ROWS_PER_THREAD))

    def blocks(self) -> Tiles:
        """Return how the rows of queries are cut into blocks, each of which has a buffer of scores."""
        return starts(balanced(self.shapes.rows, self.tile))

    def block(self, rows: int) -> None:
        """Emit a block of rows from ``self.row`` on."""
        self.allocate(rows, self.k.blocks)
        self.score_tiles([(0, rows, 1)], 0, self.shapes.keys)
        with T.serial(0, rows) as at:
            self._softmax(at)
            if self.divided:
                self.weights(at)
        self.each_value_tile([(0, rows, 1)], 0, self.shapes.keys, self.store)

    def allocate(self, rows: int, vectors: int) -> None:
        """Make the buffers of a block. A row of scores has a vector too many: rows in one cache set would collide."""
        self.scores = T.alloc_buffer((rows, (vectors + 1) * self.lanes), "float32")
        self.scale = T.alloc_buffer((rows,), "float32")
        if self.paired_values:
            self.rounded = LowBuffer(T.alloc_buffer((rows, (vectors + 1) * self.lanes), "uint16"), "bfloat16")
            self.rounded_pairs = self.rounded.pairs()

    def score_tiles(self, tiles: Tiles, origin: Expr, keys: int) -> None:
        """Emit the scores of a block against keys from vector ``origin`` on; past the last key, minus infinity."""
        full, rest = divmod(keys, self.lanes)
        for first, size, count in starts(balanced(full, self.vectors)) if full else []:
            with T.serial(0, count) as at:
                self._row_of_score_tiles(tiles, origin, at * size + first, size, self.lanes)
        if rest:
            reach = self.lanes if _same_for_all_keys(self.score_operands) else rest
            self._row_of_score_tiles(tiles, origin, full, 1, reach)
            rows = sum(size * count for _, size, count in tiles)
            with T.serial(0, rows) as at:
                for start, _, width in cut_vectors(rest, self.lanes, self.lanes):
                    with lane_loop(width) as lane:
                        column = full * self.lanes + start + lane
                        T.buffer_store(self.scores, MAXIMUM.identity("float32"), [at, column])

    def _row_of_score_tiles(self, tiles: Tiles, origin: Expr, block: Expr, vectors: int, reach: int) -> None:
        for first, size, count in tiles:
            with T.serial(0, count) as at:
                self._score_tile(at * size + first, size, origin, block, vectors, reach)

    def _score_tile(self, local: Expr, rows: int, origin: Expr, block: Expr, vectors: int, reach: int) -> None:
        """Emit the scores of ``rows`` rows and ``vectors`` vectors of keys, ``reach`` lanes of each."""
        sums = RegisterTile(rows, vectors, self.lanes, step=self.score_step)
        self.product(
            sums,
            self.q.columns,
            lambda at, k: self.q.element(self.base, self.row + local + at, k),
            lambda at, k, lane: self.k.vector(origin + block + at, k, lane),
            self.by_lane and self.q.column_stride == 1,
        )
        with T.unroll(0, rows) as at:
            for vector in range(vectors):
                for start, _, width in cut_vectors(0, reach, self.lanes):
                    with lane_loop(width) as lane:
                        column = (block + vector) * self.lanes + start + lane
                        logical = [*self.batch, self.row + local + at, origin * self.lanes + column]
                        value = sums.sum(at, vector, lane + start)
                        value = self.apply(self.on_scores, value, self.score_operands, logical)
                        T.buffer_store(self.scores, value, [local + at, column])

    def product(self, sums: RegisterTile, depth: int, element: Any, vector: Any, by_lane: bool) -> None:
        """Emit ``sums += element(row, k) * vector(vector, k, lane)`` for all k."""
        sums.clear(sums.rows)
        for start, steps, unroll in unrolled_loop(depth, self.unroll):
            with T.serial(0, extent(steps)) as outer:
                self._steps(sums, outer * unroll + extent(start), unroll, element, vector, by_lane)

    @staticmethod
    def _steps(sums: RegisterTile, k: Expr, count: int, element: Any, vector: Any, by_lane: bool) -> None:
        sums.steps(
            count,
            lambda at, step: element(at, k + step),
            lambda at, step, lane: vector(at, k + step, lane),
            by_lane=by_lane,
        )

    def apply(
        self, program: PointwiseProgram, value: Expr, operands: list[tuple[Any, TensorType]], logical: list[Expr]
    ) -> Expr:
        """Return a program's result on a value at its place among the scores."""
        loaded = [load(buffer, tensor, logical, self.shapes.scores) for buffer, tensor in operands]
        return evaluate(program, [value, *loaded])

    def exponentials(self, at: Expr, top: Expr, width: int) -> Expr:
        """Emit e^(score - top) in place for the columns of one row, return their sum."""

        def exponential(column: Expr) -> Expr:
            bindings = Bindings()
            value = bindings.bind(self.scores[at, column] - top)
            T.buffer_store(self.scores, bindings.close(exp_nonpositive(bindings, value)), [at, column])
            if self.paired_values:
                store_element(self.rounded, self.scores[at, column], [at, column])
            return self.scores[at, column]

        return fold_run(SUM, width, self.lanes, "float32", exponential)

    def greatest(self, at: Expr, width: int) -> Expr:
        """Emit the search for the greatest score of one row, return it."""
        return fold_run(MAXIMUM, width, self.lanes, "float32", lambda column: self.scores[at, column])

    def _softmax(self, at: Expr) -> None:
        """Emit one row's exponentials, the greatest score subtracted first, and one over their sum."""
        width = self.k.blocks * self.lanes
        top = T.alloc_buffer((1,), "float32")
        T.buffer_store(top, self.greatest(at, width), [0])
        T.buffer_store(self.scale, tirx.const(1.0, "float32") / self.exponentials(at, top[0], width), [at])

    def weights(self, at: Expr) -> None:
        """Emit the program on one row of probabilities."""
        same = _same_for_all_keys(self.weight_operands)
        keys = self.k.blocks * self.lanes if same else self.shapes.keys

        def weigh(start: Expr, width: int) -> None:
            with lane_loop(width) as lane:
                key = start + lane
                value = self.scores[at, key] * self.scale[at]
                value = self.apply(self.on_weights, value, self.weight_operands, [*self.batch, self.row + at, key])
                T.buffer_store(self.scores, value, [at, key])

        each_vector(keys, self.lanes, weigh)

    def each_value_tile(
        self, tiles: Tiles, first_key: Expr, keys: int, store: Callable[[RegisterTile, Expr, Expr], None]
    ) -> None:
        """Emit the products of a block's scores with the values of so many keys, tile by tile.

        ``store(sums, row in the block, vector of columns)`` takes a tile.
        """
        for first, size, count in starts(balanced(self.v.blocks, self.vectors)):
            with T.serial(0, count) as index:
                for top, rows, repeats in tiles:
                    with T.serial(0, repeats) as repeat:
                        self._value_tile(repeat * rows + top, rows, index * size + first, size, first_key, keys, store)

    def _value_tile(
        self, local: Expr, rows: int, block: Expr, vectors: int, first_key: Expr, keys: int, store: Any
    ) -> None:
        step, width = (dot, 2) if self.paired_values else (multiply_add, 1)
        weights = self.rounded_pairs if self.paired_values else self.scores
        sums = RegisterTile(rows, vectors, self.lanes, step=step)
        self.product(
            sums,
            -(-keys // width),
            lambda at, k: weights[local + at, k],
            lambda at, k, lane: self.v.vector(block + at, first_key // width + k, lane),
            self.by_lane,
        )
        store(sums, local, block)

    def store(self, sums: RegisterTile, local: Expr, block: Expr) -> None:
        """Emit the stores of a tile of results, from a row of the block and a vector of columns on."""
        with T.unroll(0, sums.rows) as at:
            for vector in range(sums.vectors):
                self.store_vector(local + at, block + vector, lambda lane, v=vector: sums.sum(at, v, lane))  # type: ignore[misc]

    def store_vector(self, at: Expr, block: Expr, value_of: Callable[[Expr], Expr]) -> None:
        """Store a vector of a row's result: whole, but lane by lane where it is the last, partly filled one."""
        rest = self.shapes.columns % self.lanes
        if not rest:
            with T.vectorized(0, self.lanes) as lane:
                self._store_element(at, block * self.lanes + lane, value_of(lane))
            return
        with T.If(block < self.v.blocks - 1):
            with T.Then(), T.vectorized(0, self.lanes) as lane:
                self._store_element(at, block * self.lanes + lane, value_of(lane))
            with T.Else(), T.serial(0, rest) as lane:
                self._store_element(at, block * self.lanes + lane, value_of(lane))

    def _store_element(self, at: Expr, column: Expr, value: Expr) -> None:
        if not self.divided:
            value = value * self.scale[at]
        if self.guarded:
            finite = self.scale[at] <= tirx.const(_LARGEST, "float32")
            value = tirx.Select(finite, value, tirx.const(0.0, "float32"))
        index = [*self.batch, self.row + at, column]
        value = self.kernel.finish(value, index, self.shapes.result)
        store_element(self.kernel.outputs[0], value, [index[axis] for axis in self.kernel.work.attr("out_axes")])


def _same_for_all_keys(operands: list[tuple[Any, TensorType]]) -> bool:
    return all(not tensor.shape or tensor.shape[-1] == 1 for _, tensor in operands)
