"""Matrix products with weights of four or eight bits, unpacked where they are multiplied.

Codes lie in panels of one vector of columns, [N/b, K, b] bytes or [N/b, K/8, b] words of eight codes, b the lanes of a
vector; scales and offsets [N/b, blocks, b]. A lane's word holds eight steps of the depth: each is shifted out of it,
with AVX-512 by a permutation that looks it up in a table of sixteen floats.

Few rows are bound by what the weights weigh in memory: the sums of a block stay apart until its end, where one
multiply-add scales them. More rows read a panel that is unpacked and scaled once, as float32 in the second-level cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...dims import upper
from ...knobs import Knobs
from ...layout import Layout
from ...nbits import NIBBLES
from ...targets.target import Target
from ...workload import Workload
from ..kernel import Kernel, unrolled_loop, writing
from ..low_precision import LowBuffer
from ..template import CPUS, NotApplicable, template
from .matmul import Product, ProductWriter, Tiles, with_rows_folded
from .register_tile import EXACT_DEPTH, MEMORY_BYTES_PER_CYCLE, MULTIPLY_ADDS_PER_CYCLE, RegisterTile, tile_shape

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any
#: Products of so many rows are bound by memory rather than by multiply-adds.
FEW_ROWS = 4
#: A block is summed in parts of no fewer steps.
_LEAST_PART = 64


def panels(target: Target) -> Layout:
    """Return the layout of weights, scales and offsets: panels of one vector of columns."""
    return Layout("NK", f"NK{target.lanes()}n")


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for panels."""
    constants = work.anchor_arity - 1
    rest = [None] * (len(work.inputs) - work.anchor_arity)
    return work.with_layouts((None, *[panels(target)] * constants, *rest), (None,))


def cost(work: Workload, target: Target) -> float:
    """Return estimated cycles: the weights from memory, or the products."""
    product = Product.of(work)
    weights = float(product.depth * product.columns * work.attr("bits")) / 8
    steps = float(math.prod(product.batch) * product.rows * product.depth * -(-product.columns // target.lanes()))
    return max(weights / MEMORY_BYTES_PER_CYCLE, steps / MULTIPLY_ADDS_PER_CYCLE)


@template(
    "matmul_nbits",
    arch=CPUS,
    dtypes=("float32", "int8", "int32", "uint16"),
    layouts=layouts,
    cost=cost,
    symbolic=True,
)
def packed_matmul_nbits(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Keep rows x columns of the result in registers while the depth streams past."""
    if work.inputs[0].dtype != "float32" or work.inputs[1].layout is None:
        raise NotApplicable
    work = work if work.is_static else with_rows_folded(work)
    product = Product.of(work)
    rows, columns = tile_shape(target)
    few = upper(product.rows) <= FEW_ROWS
    # Sums of blocks and their totals share the registers.
    default = max(1, target.facts.vector_registers // 4 // upper(product.rows)) if few else columns
    vectors = knobs.choice("vectors", (1, 2, 3, 4, 5, 6, 8), default=default)
    tile = knobs.choice("tile", range(1, 16), default=FEW_ROWS if few else rows)
    unroll = knobs.choice("unroll", (1, 2, 4, 8), default=1 if few else 4)
    with writing(work) as kernel:
        writer = _FewRows if few else _ManyRows
        writer(kernel, product, target, vectors, tile, unroll).write()
    assert kernel.function is not None
    return kernel.function


class _Unpacking(ProductWriter):
    """Emits a product; knows how codes become floats."""

    def __init__(self, kernel: Kernel, product: Product, target: Target, vectors: int, tile: int, unroll: int) -> None:
        super().__init__(kernel, product, target, vectors, tile, unroll)
        self.one_matrix = False  # weights are small: no panel is fetched ahead
        work = kernel.work
        self.codes = kernel.inputs[1]
        self.scale = _floats(kernel.inputs[2])
        self.offset = kernel.inputs[3] if work.anchor_arity == 4 else None
        self.block_size = work.attr("block")
        self.step_size = NIBBLES if work.attr("bits") == 4 else 1

    def open(self, vectors: int) -> None:
        """Declare the registers of unpacking."""
        self.words = [T.alloc_buffer((self.lanes,), "int32") for _ in range(vectors if self.step_size > 1 else 0)]
        self.weights = [T.alloc_buffer((self.lanes,), "float32") for _ in range(vectors)]

    def blocks_of_depth(self) -> list[tuple[int, int, int, int]]:
        """Return runs (first block, steps of a part, parts of a block, blocks) that make up the depth."""
        whole, rest = divmod(self.product.depth, self.block_size)
        runs = [(0, self.block_size, whole), (whole, rest, 1)]
        return [
            (first, size // parts, parts, count)
            for first, size, count in runs
            if size * count
            for parts in [_parts_of(size, self.step_size)]
        ]

    def load(self, panel: Expr, step: Expr) -> None:
        """Load the words of a step of all vectors."""
        for vector, word in enumerate(self.words):
            with T.vectorized(0, self.lanes) as lane:
                T.buffer_store(word, self.codes[panel + vector, step, lane], [lane])

    def unpack(self, panel: Expr, vector: int, step: Expr, at: int, group: Expr | None) -> None:
        """Store the ``at``-th weights of a step, scaled by those of a block unless that is None."""
        lanes = tirx.Ramp(0, 1, self.lanes)
        value = self._code(panel, vector, step, at)
        if group is not None:
            value = value * self.scale[panel + vector, group, lanes]
            value = value if self.offset is None else value + self.offset[panel + vector, group, lanes]
        T.buffer_store(self.weights[vector], value, [lanes])

    def _code(self, panel: Expr, vector: int, step: Expr, at: int) -> Expr:
        lanes, floats = tirx.Ramp(0, 1, self.lanes), f"float32x{self.lanes}"
        if not self.words:
            return self.codes[panel + vector, step, lanes].astype(floats)
        word = self.words[vector][lanes]
        if "avx512f" in self.target.features and self.lanes == 16:
            table = _signed(tirx.Ramp(0, 1, self.lanes), 0, self.lanes).astype(floats)
            index = tirx.shift_right(word, _splat(4 * at, self.lanes)) if at else word
            return tirx.call_llvm_pure_intrin(floats, "llvm.x86.avx512.permvar.sf.512", table, index)
        return _signed(word, at, self.lanes).astype(floats)


class _FewRows(_Unpacking):
    """Scales the sums of each block; with offsets, the weights."""

    def accumulators(self, rows: int, vectors: int) -> _BlockSums:
        """Return sums of a block and totals."""
        self.open(vectors)
        return _BlockSums(rows, vectors, self.lanes)

    def _tile(self, batch: list[Expr], block: Expr, vectors: int, row: Expr, rows: int, turn: tuple[Expr, int]) -> None:
        sums = self.sums
        assert isinstance(sums, _BlockSums)
        sums.clear(rows)
        for first, size, parts, count in self.blocks_of_depth():
            with T.serial(0, count * parts) as at:
                group = at // parts + first
                begin = first * self.block_size + at * size
                if self.offset is None:
                    self._block(batch, block, row, begin, size, None)
                    sums.flush_scaled(lambda vector, lane, group=group: self.scale[block + vector, group, lane])  # type: ignore[misc]
                else:
                    self._block(batch, block, row, begin, size, group)
                    sums.flush()
        self._finish(batch, block, vectors, row)

    def _block(self, batch: list[Expr], panel: Expr, row: Expr, begin: Expr, size: int, group: Expr | None) -> None:
        for start, steps, unroll in unrolled_loop(size // self.step_size, self.unroll):
            with T.serial(0, steps) as outer, T.unroll(0, unroll) as inner:
                step = begin // self.step_size + start + outer * unroll + inner
                self.load(panel, step)
                for at in range(self.step_size):
                    for vector in range(self.sums.vectors):
                        self.unpack(panel, vector, step, at, group)
                    self.sums.multiply_add(
                        lambda r, lane, k=step * self.step_size + at: self._a_element(batch, row + r, k),  # type: ignore[misc]
                        lambda vector, lane: self.weights[vector][lane],
                    )


class _ManyRows(_Unpacking):
    """Unpacks the panels of a column tile once for all rows of a task."""

    def _rows(
        self, batch: list[Expr], block: Expr, vectors: int, runs: Tiles, chunk: Expr = 0, chunks: int = 1
    ) -> None:
        self.open(vectors)
        self.panel = T.alloc_buffer((vectors, self.product.depth, self.lanes), "float32")
        for first, size, parts, count in self.blocks_of_depth():
            steps = size // self.step_size
            with T.serial(0, count * parts) as part, T.serial(0, steps) as step:
                at = (first * self.block_size) // self.step_size + part * steps + step
                self._unpack_step(block, at, part // parts + first)
        self.first_panel = block
        super()._rows(batch, block, vectors, runs, chunk, chunks)

    def _unpack_step(self, panel: Expr, step: Expr, group: Expr) -> None:
        self.load(panel, step)
        for at in range(self.step_size):
            for vector, weights in enumerate(self.weights):
                self.unpack(panel, vector, step, at, group)
                with T.vectorized(0, self.lanes) as lane:
                    T.buffer_store(self.panel, weights[lane], [vector, step * self.step_size + at, lane])

    def add_steps(self, batch: list[Expr], block: Expr, row: Expr, k: Expr, count: int) -> None:
        """Add steps of the depth to a tile."""
        self.sums.steps(
            count,
            lambda at, step: self._a_element(batch, row + at, k + step),
            lambda vector, step, lane: self.panel[vector, k + step, lane],
            by_lane=self.by_lane,
        )


class _BlockSums(RegisterTile):
    """A register tile with the sums of a block apart from the totals."""

    def __init__(self, rows: int, vectors: int, lanes: int) -> None:
        super().__init__(rows, vectors, lanes, depth=EXACT_DEPTH + 1)

    def flush_scaled(self, scale: Callable[[int, Expr], Expr]) -> None:
        """End a block: add its sums, times ``scale(vector, lane)``, to the totals."""
        for vector, (sums, totals) in enumerate(zip(self._sums, self._totals, strict=True)):
            with T.unroll(0, self.rows) as row, T.vectorized(0, self.lanes) as lane:
                T.buffer_store(totals, totals[row, lane] + sums[row, lane] * scale(vector, lane), [row, lane])
            self._set_zero(sums)


def _floats(buffer: Any) -> Any:
    return LowBuffer(buffer, "bfloat16") if buffer.dtype == "uint16" else buffer


def _parts_of(size: int, step: int) -> int:
    """Return into how many parts a block is cut so that rounding errors do not add up over a long one."""
    wanted = -(-size // EXACT_DEPTH)
    fitting = (each for each in range(wanted, size // _LEAST_PART + 1) if size % (each * step) == 0)
    return next(fitting, 1)


def _splat(value: int, lanes: int) -> Expr:
    return tirx.Broadcast(tirx.const(value, "int32"), lanes)


def _signed(word: Expr, at: int, lanes: int) -> Expr:
    """Return the ``at``-th four bits of each word as numbers from -8 to 7."""
    raised = tirx.shift_left(word, _splat(28 - 4 * at, lanes)) if at < NIBBLES - 1 else word
    return tirx.shift_right(raised, _splat(28, lanes))
