"""Matrix products: packed weights or batched activations, with their epilogue.

A weight matrix is packed at compile time to [N/b, K, b], b the lanes of a vector, so that the product streams it once
in order. Of a batched product both operands are activations: they are read through their transposes where they lie, and
the second one is packed for each batch inside the kernel only when its columns are not vectors in memory already.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...dims import Dim, bounds, upper
from ...knobs import Knobs
from ...layout import Layout
from ...shapes import is_static
from ...targets.target import Target
from ...workload import TensorType, Workload, attributes
from ..access import broadcast_indices
from ..kernel import Kernel, balanced, starts, unrolled_loop, writing
from ..low_precision import dot, multiplies_pairs, store_element
from ..template import CPUS, NotApplicable, template
from ..vectors import extent, read_often
from .register_tile import (
    EXACT_DEPTH,
    MULTIPLY_ADDS_PER_CYCLE,
    RegisterTile,
    multiplies_by_lane,
    multiply_add,
    prefetch,
    tile_shape,
)

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any
#: Runs of tiles: (first, size, count).
Tiles = list[tuple[int, int, int]]
#: Over so many row tiles the next panel is fetched where only a run knows how many there are.
_TURNS = 8
#: The attribute by which a workload asks for another algorithm than the ordinary one.
ALGORITHM = "algorithm"


def pack_second(work: Workload, target: Target) -> Workload:
    """Ask for a packed second operand when it is one matrix: panels of one vector of columns."""
    if len(work.inputs[1].shape) != 2 or not is_static(work.inputs[1].shape):
        raise NotApplicable
    axes = "KN" if work.attr("b_axes") == (0, 1) else "NK"
    packed = Layout(axes, f"NK{target.lanes()}n2k" if in_pairs(work, target) else f"NK{target.lanes()}n")
    rest = [None] * (len(work.inputs) - 2)
    return work.with_layouts((None, packed, *rest), (None,))


def in_pairs(work: Workload, target: Target) -> bool:
    """Return whether pairs of bfloat16 along the depth are multiplied: they are neighbours in a row of A."""
    a_axes = work.attr("a_axes")
    contiguous = (
        a_axes[-1] == len(a_axes) - 1 and is_static(work.inputs[0].shape[-1:]) and work.inputs[0].shape[-1] % 2 == 0
    )
    return contiguous and multiplies_pairs(work, target)


@dataclass(frozen=True)
class Product:
    """result[batch, m, n] = sum over k of a[batch, m, k] * b[batch, k, n], all shapes logical, after the transposes.

    Attributes:
        batch: leading dimensions of the result that are not folded into the rows.
        rows: M, with the leading dimensions when the second operand is one matrix and the first is not transposed.
        folded: the leading dimensions that the rows hold.
    """

    batch: tuple[int, ...]
    rows: int
    depth: int
    columns: int
    folded: tuple[int, ...]
    a_shape: tuple[int, ...]
    b_shape: tuple[int, ...]
    result_shape: tuple[int, ...]

    @staticmethod
    def of(work: Workload) -> Product:
        """Return the product that a workload of the family is."""
        a, b = (
            tuple(operand.shape[axis] for axis in work.attr(name))
            for operand, name in zip(work.inputs, ("a_axes", "b_axes"), strict=False)
        )
        out_axes = work.attr("out_axes")
        result = [0] * len(out_axes)
        for axis, size in zip(out_axes, work.output.shape, strict=True):
            result[axis] = size
        *leading, rows, columns = result
        fold = len(b) == 2 and work.attr("a_axes") == tuple(range(len(a)))
        folded = (*leading, rows) if fold else (rows,)
        batch = () if fold else tuple(leading)
        return Product(batch, math.prod(folded), a[-1], columns, folded, a, b, tuple(result))


def cost(work: Workload, target: Target) -> float:
    """Return estimated cycles: the products."""
    product = Product.of(work)
    rows = math.prod(product.batch) * product.rows
    depth = product.depth // 2 if in_pairs(work, target) else product.depth
    return rows * depth * -(-product.columns // target.lanes()) / MULTIPLY_ADDS_PER_CYCLE


@template("matmul", arch=CPUS, dtypes=("float32",), layouts=pack_second, cost=cost, symbolic=True)
def packed_matmul(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Keep rows x columns of the result in registers while the depth streams past.

    Order: batch > chunk of rows > tile of columns > tile of rows > depth. Batch, chunk and column tile are shared among
    threads; a column tile's panel stays in the second-level cache while the rows of the chunk pass.
    """
    if {operand.dtype for operand in work.inputs[:2]} != {"float32"} or ALGORITHM in dict(work.attrs):
        raise NotApplicable
    work = work if work.is_static else with_rows_folded(work)
    product = Product.of(work)
    if len(product.b_shape) == 2 and work.inputs[1].layout is None:
        raise NotApplicable
    rows, columns = tile_shape(target)
    few = upper(product.rows) <= rows // 2
    vectors = knobs.choice("vectors", (1, 2, 3, 4, 6, 8), default=4 if few else columns)
    tile = knobs.choice("tile", range(1, 16), default=rows)
    unroll = knobs.choice("unroll", (1, 2, 4, 8, 16), default=8 if few else 4)
    with writing(work) as kernel:
        ProductWriter(kernel, product, target, vectors, tile, unroll).write()
    assert kernel.function is not None
    return kernel.function


def with_rows_folded(work: Workload) -> Workload:
    """Return a product with one matrix as one of two dimensions: rows that only a run counts need no division then.

    x [batch, seq, K] w [K, N] + bias [N] + residual [batch, seq, N]  -->  x [batch seq, K], residual [batch seq, N]

    It stays as it is where an operand of the epilogue varies along some of the leading dimensions only.
    """
    a, result = work.inputs[0].shape, work.output.shape
    natural = all(axes == tuple(range(len(axes))) for axes in (work.attr("a_axes"), work.attr("out_axes")))
    if not natural or len(work.inputs[1].shape) != 2 or len(a) == 2:
        return work

    def folded(operand: TensorType) -> TensorType | None:
        lead = operand.shape[:-1]
        if lead == result[:-1]:
            return replace(operand, shape=(math.prod(lead), operand.shape[-1]))
        return replace(operand, shape=operand.shape[-1:]) if all(size == 1 for size in lead) else None

    extra = [folded(each) if each.shape else each for each in work.inputs[2:]]
    if None in extra:
        return work
    first, output = (replace(each, shape=(math.prod(each.shape[:-1]), each.shape[-1])) for each in (
        work.inputs[0], work.output))  # fmt: skip
    attrs = attributes(dict(work.attrs) | {"a_axes": (0, 1), "out_axes": (0, 1)})
    inputs = (first, work.inputs[1], *(each for each in extra if each))
    return replace(work, inputs=inputs, outputs=(output,), attrs=attrs)


def depth_parts(depth: int) -> Tiles:
    """Return the parts (first, size, count) that a depth is summed in."""
    if not isinstance(depth, Dim):
        return starts(balanced(depth, EXACT_DEPTH))
    whole = depth // EXACT_DEPTH
    parts = [(0, EXACT_DEPTH, whole), (whole * EXACT_DEPTH, depth % EXACT_DEPTH, 1)]
    return [part for part in parts if part[1] != 0 and part[2] != 0]


class ProductWriter:
    """Emits one product."""

    def __init__(self, kernel: Kernel, product: Product, target: Target, vectors: int, tile: int, unroll: int) -> None:
        self.kernel, self.product, self.target = kernel, product, target
        self.vectors, self.tile, self.unroll = vectors, tile, unroll
        self.lanes = target.lanes()
        self.blocks = -(-product.columns // self.lanes)
        self.a, self.b = kernel.inputs[:2]
        work = kernel.work
        b_axes = work.attr("b_axes")
        self.one_matrix = work.inputs[1].layout is not None
        self.pairs = self.one_matrix and in_pairs(work, target)
        if self.pairs:
            # One int32 holds two steps of the depth; B's are neighbours in the last dimension, which then vanishes.
            self.product = product = replace(product, depth=product.depth // 2, a_shape=_halved(product.a_shape))
            self.a, self.b = self.a.pairs(), self.b.pairs()
        else:
            self.a = read_often(self.a, self.lanes, upper(self.blocks))
        in_place = b_axes[-1] == len(b_axes) - 1 and product.columns % self.lanes == 0
        self.packs = not self.one_matrix and not in_place
        self.inner = [0] if self.pairs else []
        a_axes = work.attr("a_axes")
        self.by_lane = a_axes[-1] == len(a_axes) - 1 and not self.pairs and multiplies_by_lane(target)

    def write(self) -> None:
        """Emit column tiles with all rows inside, or parts of the rows where columns are too few for the cores."""
        product = self.product
        batches = math.prod(product.batch)
        columns = starts(balanced(self.blocks, self.vectors))
        row_tiles = starts(balanced(product.rows, self.tile))
        if self.packs:
            with T.parallel(0, extent(batches)) as index:
                batch = unravel(index, product.batch)
                # One block more than there is at the most: where no column is left over, the zeros go there.
                blocks = upper(self.blocks) + isinstance(self.blocks, Dim)
                self.panel = T.alloc_buffer((blocks, upper(product.depth), self.lanes), "float32")
                self._pack(batch)
                for first, size, count in columns:
                    with T.serial(0, extent(count)) as at:
                        self._rows(batch, at * size + extent(first), size, row_tiles)
            return
        for first, size, count in columns:
            for runs, chunks in self._parts(row_tiles, batches * sum(count for *_, count in columns)):
                with T.parallel(0, extent(batches * chunks * count)) as index:
                    batch = unravel(index // extent(count) // chunks, product.batch)
                    block = index % extent(count) * size + extent(first)
                    self._rows(batch, block, size, runs, index // extent(count) % chunks, chunks)

    def _parts(self, row_tiles: Tiles, tasks: int) -> list[tuple[Tiles, int]]:
        """Return which row tiles go together and into how many chunks they are cut, so that all cores have work."""
        cores = self.target.facts.cores
        wanted = -(-2 * cores // max(bounds(tasks)[0], 1)) if cores > 1 else 1
        if wanted == 1:
            return [(row_tiles, 1)]
        if isinstance(self.product.rows, Dim):
            return [([run], wanted if run[1] == self.tile else 1) for run in row_tiles]
        return [([run], math.gcd(run[2], wanted)) for run in row_tiles]

    def _rows(
        self,
        batch: list[Expr],
        block: Expr,
        vectors: int,
        runs: list[tuple[int, int, int]],
        chunk: Expr = 0,
        chunks: int = 1,
    ) -> None:
        """Emit the row tiles of one column tile: of runs (first row, size, count), the chunk-th part of each."""
        self.sums = self.accumulators(max(size for _, size, _ in runs), vectors)
        passes = sum(count // chunks for *_, count in runs)
        done = 0
        for first, size, count in runs:
            if isinstance(count, Dim):
                begin = chunk * extent(count) // chunks
                share = (chunk + 1) * extent(count) // chunks - begin
                with T.serial(0, share) as at:
                    turn = (at % _TURNS, _TURNS if size == self.tile else 1)
                    self._tile(batch, block, vectors, (begin + at) * size + extent(first), size, turn)
                continue
            share = count // chunks
            with T.serial(0, share) as at:
                self._tile(batch, block, vectors, (chunk * share + at) * size + first, size, (at + done, passes))
            done += share

    def accumulators(self, rows: int, vectors: int) -> RegisterTile:
        """Return the sums of a tile."""
        step = dot if self.pairs else multiply_add
        return RegisterTile(rows, vectors, self.lanes, upper(self.product.depth), step=step)

    def _pack(self, batch: list[Expr]) -> None:
        """Copy the second operand of one batch into panels; columns past the last are zero."""
        product, lanes = self.product, self.lanes
        full, rest = divmod(product.columns, lanes)
        depth, last = extent(product.depth), extent(full)
        with T.serial(0, last) as block, T.serial(0, lanes) as lane, T.serial(0, depth) as k:
            T.buffer_store(self.panel, self._b_element(batch, k, block * lanes + lane), [block, k, lane])
        if rest != 0:
            with T.serial(0, extent(rest)) as lane, T.serial(0, depth) as k:
                T.buffer_store(self.panel, self._b_element(batch, k, last * lanes + lane), [last, k, lane])
            with T.serial(0, depth) as k, T.serial(0, extent(lanes - rest)) as lane:
                T.buffer_store(self.panel, tirx.const(0.0, "float32"), [last, k, lane + extent(rest)])

    def _tile(self, batch: list[Expr], block: Expr, vectors: int, row: Expr, rows: int, turn: tuple[Expr, int]) -> None:
        """Emit one tile, its depth in parts."""
        self.sums.clear(rows)
        for first, size, count in depth_parts(self.product.depth):
            with T.serial(0, extent(count)) as part:
                self._part(batch, block, row, (part * extent(size) + extent(first), size), turn)
                self.sums.flush()
        self._finish(batch, block, vectors, row)

    def _part(self, batch: list[Expr], block: Expr, row: Expr, depth: tuple[Expr, int], turn: tuple[Expr, int]) -> None:
        """Sum over a part (first, size) of the depth; fetch its share of the next column tile's panel meanwhile."""
        first, size = depth
        steps_of_a_turn = -(-self.product.depth // self.unroll)
        for start, steps, unroll in unrolled_loop(size, self.unroll):
            with T.serial(0, extent(steps)) as outer:
                if self.one_matrix and turn[1] > 1 and start == 0:
                    now = turn[0] * steps_of_a_turn + first // self.unroll + outer
                    panel = self.sums.vectors * self.product.depth
                    following = [block + self.sums.vectors, *[0] * (len(self.b.shape) - 1)]
                    prefetch(self.b, following, 1, panel, now, steps_of_a_turn * turn[1])
                self.add_steps(batch, block, row, outer * unroll + extent(start) + first, unroll)

    def add_steps(self, batch: list[Expr], block: Expr, row: Expr, k: Expr, count: int) -> None:
        """Add ``count`` steps of the depth from ``k`` on to a tile."""
        self.sums.steps(
            count,
            lambda at, step: self._a_element(batch, row + at, k + step),
            lambda vector, step, lane: self._b_vector(batch, block + vector, k + step, lane),
            by_lane=self.by_lane,
        )

    def _finish(self, batch: list[Expr], block: Expr, vectors: int, row: Expr) -> None:
        """Store a tile: whole vectors, but lane by lane what lies in the last, partly filled one."""
        rest = self.product.columns % self.lanes

        def store(at: Expr, vector: Expr, lane: Expr) -> None:
            index = [*batch, *unravel(row + at, self.product.folded), (block + vector) * self.lanes + lane]
            value = self.kernel.finish(self.sums.sum(at, vector, lane), index, self.product.result_shape)
            store_element(self.kernel.outputs[0], value, [index[axis] for axis in self.kernel.work.attr("out_axes")])

        if rest == 0:
            self.sums.each(store)
            return
        with T.unroll(0, self.sums.rows) as at:
            for vector in range(vectors):
                with T.If(block + vector < extent(self.product.columns // self.lanes)):
                    with T.Then(), T.vectorized(0, self.lanes) as lane:
                        store(at, vector, lane)
                    with T.Else(), T.serial(0, extent(rest)) as lane:
                        store(at, vector, lane)

    def _a_element(self, batch: list[Expr], row: Expr, k: Expr) -> Expr:
        product = self.product
        logical = [*batch, *unravel(row, product.folded), k]
        shape = (*product.result_shape[:-1], product.depth)
        return self.a[stored(broadcast_indices(product.a_shape, logical, shape), self.kernel.work.attr("a_axes"))]

    def _b_element(self, batch: list[Expr], k: Expr, column: Expr) -> Expr:
        product = self.product
        shape = (*product.result_shape[:-2], product.depth, product.columns)
        logical = broadcast_indices(product.b_shape, [*batch, k, column], shape)
        return self.b[stored(logical, self.kernel.work.attr("b_axes"))]

    def _b_vector(self, batch: list[Expr], block: Expr, k: Expr, lane: Expr) -> Expr:
        if self.one_matrix:
            return self.b[(block, k, lane, *self.inner)]
        if self.packs:
            return self.panel[block, k, lane]
        return self._b_element(batch, k, block * self.lanes + lane)


def _halved(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-1], shape[-1] // 2)


def stored(logical: Sequence[Expr], axes: tuple[int, ...]) -> tuple[Expr, ...]:
    """Return the indices into an operand that is read as its transpose by ``axes``."""
    indices: list[Expr] = [None] * len(axes)
    for index, axis in zip(logical, axes, strict=True):
        indices[axis] = index
    return tuple(indices)


def unravel(index: Expr, shape: tuple[int, ...]) -> list[Expr]:
    """Return the indices into a shape of a position in row-major order."""
    if len(shape) < 2:
        return [index] if shape else []
    indices: list[Expr] = []
    for size in reversed(shape[1:]):
        indices.insert(0, index % extent(size))
        index = index // extent(size)
    return [index, *indices]
