"""The loops of an attention over lengths that only a run knows.

Scores are computed for whole vectors of keys; the last vector's lanes past the keys become minus infinity, so that all
loops behind it run over whole vectors, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...dims import Dim, bounds, upper
from ...targets.target import Target
from ...workload import LowTensor, Workload
from ..bindings import Expr
from ..folds import MAXIMUM, fold_run
from ..kernel import Kernel, balanced, starts
from ..strided_copy import StridedCopy
from ..strides import Loop
from ..template import NotApplicable
from ..vectors import extent, flat_view
from .attention_operands import Panels, Shapes
from .attention_rows import RowWriter, Tiles
from .register_tile import RegisterTile

#: A step of decoding has one row, for which packing the keys costs more than the product.
_FEWEST_ROWS = 4
#: Rows of a tile: most lengths are multiples of it.
_TILE = 8


def check_run_time_shapes(work: Workload, lanes: int) -> None:
    """Raise NotApplicable for what only a kernel of known lengths computes, or another kernel computes better."""
    shapes, axes = Shapes.of(work), work.attr("v_axes")
    narrow = any(isinstance(each, LowTensor) for each in work.inputs[:3])
    if narrow or any(isinstance(each, Dim) for each in (shapes.depth, shapes.columns)):
        raise NotApplicable
    in_place = axes[-1] == len(axes) - 1 and shapes.columns % lanes == 0
    if upper(shapes.rows) < _FEWEST_ROWS or not in_place:
        raise NotApplicable


class AnyLengthPanels(Panels):
    """Keys packed to [vectors of keys, depth, lanes], planned at the bound."""

    def open(self, batch: Sequence[Expr]) -> None:
        """Pack the matrix of a batch; columns past the last are zero."""
        operand, lanes = self.operand, self.lanes
        self._base = operand.base(batch)
        # One vector more than there is at the most: where no column is left over, the zeros go there.
        self._panel = T.alloc_buffer((upper(self.blocks) + 1, operand.rows, lanes), "float32")
        full, rest = divmod(operand.columns, lanes)
        across, down = operand.column_stride, operand.row_stride
        loops = [
            Loop(full, (across * lanes, operand.rows * lanes), ()),
            Loop(lanes, (across, 1), ()),
            Loop(operand.rows, (down, lanes), ()),
        ]
        base = (self._base, tirx.const(0, "int32"))
        StridedCopy(operand.view, flat_view(self._panel), loops, lanes, base=base, parallel=False).emit()
        last = extent(full)
        with T.serial(0, operand.rows) as row:
            with T.serial(0, extent(rest)) as lane:
                element = operand.element(self._base, row, last * lanes + lane)
                T.buffer_store(self._panel, element, [last, row, lane])
            with T.serial(0, extent(lanes - rest)) as lane:
                T.buffer_store(self._panel, tirx.const(0.0, "float32"), [last, row, lane + extent(rest)])


class AnyLengthWriter(RowWriter):
    """Emits one attention of run-time lengths: a register tile of rows at a time, as :class:`RowWriter`."""

    def __init__(self, kernel: Kernel, target: Target, tile: int, vectors: int, unroll: int) -> None:
        super().__init__(kernel, target, tile, vectors, unroll)
        self.k = AnyLengthPanels(self.k.operand, self.lanes)

    def chunks(self, batches: int) -> int:
        """Return into how many parts the queries of a batch are cut, for the least number of batches."""
        least = max(bounds(batches)[0], 1)
        return 1 if self.cores == 1 or least >= 4 * self.cores else -(-4 * self.cores // least)

    def blocks(self) -> Tiles:
        """Return whole tiles, then what is left in rows of their own: each size of a block is code of its own."""
        tile, rows = min(self.tile, _TILE), self.shapes.rows
        whole = rows // tile
        return [(0, tile, whole), (whole * tile, 1, rows % tile)]

    def block(self, rows: int) -> None:
        """Emit a block of rows from ``self.row`` on."""
        self.allocate(rows, upper(self.k.blocks))
        for first, size, count in starts(balanced(self.k.blocks, self.vectors)):
            with T.serial(0, extent(count)) as at:
                self._raw_scores(rows, at * size + extent(first), size)
        with T.serial(0, rows) as at:
            self._probabilities(at)
            if self.divided:
                self.weights(at)
        self.each_value_tile([(0, rows, 1)], 0, self.shapes.keys, self.store)

    def _raw_scores(self, rows: int, block: Expr, vectors: int) -> None:
        sums = RegisterTile(rows, vectors, self.lanes)
        self.product(
            sums,
            self.shapes.depth,
            lambda at, k: self.q.element(self.base, self.row + at, k),
            lambda at, k, lane: self.k.vector(block + at, k, lane),
            self.by_lane and self.q.column_stride == 1,
        )

        def keep(at: Expr, vector: int, lane: Expr) -> None:
            T.buffer_store(self.scores, sums.sum(at, vector, lane), [at, (block + vector) * self.lanes + lane])

        sums.each(keep)

    def _probabilities(self, at: Expr) -> None:
        """Emit the program on one row of scores, its exponentials, and one over their sum."""
        keys, width = self.shapes.keys, self.k.blocks * self.lanes

        def finished(key: Expr) -> Expr:
            logical = [*self.batch, self.row + at, key]
            value = self.apply(self.on_scores, self.scores[at, key], self.score_operands, logical)
            T.buffer_store(self.scores, value, [at, key])
            return self.scores[at, key]

        top = T.alloc_buffer((1,), "float32")
        T.buffer_store(top, fold_run(MAXIMUM, keys, self.lanes, "float32", finished), [0])
        with T.serial(0, extent(width - keys)) as lane:
            T.buffer_store(self.scores, MAXIMUM.identity("float32"), [at, lane + extent(keys)])
        T.buffer_store(self.scale, tirx.const(1.0, "float32") / self.exponentials(at, top[0], width), [at])
