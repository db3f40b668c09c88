"""The operands of an attention in bfloat16 as pairs: two neighbours of a reduction in one int32.

scores   q [rows, depth] and k [depth, keys] in pairs along the depth, which lies contiguous in both
values   weights [rows, keys] rounded to bfloat16, and v [keys, columns] in pairs along the keys
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...targets.target import Target
from ...workload import LowTensor, Workload
from ..low_precision import multiplies_pairs
from .attention_operands import Operand, Panels

Expr = Any


def multiplies_all_pairs(work: Workload, target: Target) -> bool:
    """Return whether queries, keys and values are bfloat16 and the target multiplies pairs of it."""
    values = work.inputs[2]
    return multiplies_pairs(work, target) and isinstance(values, LowTensor) and values.held == "bfloat16"


def depth_in_pairs(q: Operand, k: Operand) -> tuple[Operand, Operand] | None:
    """Return queries and keys with pairs of the depth as elements; None where the memory of one has no such pairs."""
    queries, keys = q.in_pairs(rows=False), k.in_pairs(rows=True)
    return (queries, keys) if queries and keys else None


class PairedValues(Panels):
    """Values packed to [columns / lanes, ceil(keys / 2), lanes]: a key's element beside the next key's, or beside zero.

    They are of whole vectors of columns that lie contiguous.
    """

    @staticmethod
    def fit(v: Operand, lanes: int) -> bool:
        """Return whether values are such."""
        return v.column_stride == 1 and v.columns % lanes == 0

    def open(self, batch: Sequence[Expr]) -> None:
        """Begin a batch: pack its matrix."""
        keys = self.operand.rows
        self._base = self.operand.base(batch)
        self.packs = True
        self._panel = T.alloc_buffer((self.blocks, -(-keys // 2), self.lanes), "int32")
        with T.serial(0, self.blocks) as block:
            with T.serial(0, keys // 2) as pair:
                self._pack(block, pair, last=False)
            if keys % 2:
                self._pack(block, tirx.const(keys // 2, "int32"), last=True)

    def _pack(self, block: Expr, pair: Expr, last: bool) -> None:
        with T.vectorized(0, self.lanes) as lane:
            both = self._bits(2 * pair, block, lane)
            if not last:
                both = both | self._bits(2 * pair + 1, block, lane) << tirx.const(16, "uint32")
            T.buffer_store(self._panel, both.astype("int32"), [block, pair, lane])

    def _bits(self, key: Expr, block: Expr, lane: Expr) -> Expr:
        place = self._base + key * self.operand.row_stride + block * self.lanes + lane
        return self.operand.view.bits[place].astype("uint32")
