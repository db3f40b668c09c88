"""The loops of an attention over long contexts: keys in chunks, with a running maximum and sum.

Milakov and Gimelshein, Online normalizer calculation for softmax, 2018; Dao et al., FlashAttention, 2022.
"""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...targets.target import Target
from ..bindings import Bindings
from ..kernel import Kernel, balanced, starts
from ..transcendental import exp_nonpositive
from .attention_rows import RowWriter, Tiles
from .register_tile import RegisterTile

Expr = Any

#: Tiles of rows in a block: so often are the keys and values of a chunk, in the second-level cache, used again.
_TILES = 4
_LOWEST = -3.4028234663852886e38


class StreamWriter(RowWriter):
    """Emits one attention: a block of rows against one chunk of keys after the other.

    The result so far stands in a buffer. When a chunk raises a row's maximum, its sum and result shrink accordingly.

    Args:
        chunk: keys of a chunk, in vectors.
    """

    def __init__(self, kernel: Kernel, target: Target, tile: int, vectors: int, unroll: int, chunk: int) -> None:
        super().__init__(kernel, target, tile, vectors, unroll)
        self.chunk = chunk

    def blocks(self) -> Tiles:
        """Return blocks of whole tiles, then one of the rows that are left."""
        size = self.tile * _TILES
        count, rest = divmod(self.shapes.rows, size)
        return [run for run in ((0, size, count), (count * size, rest, 1)) if run[1] and run[2]]

    def block(self, rows: int) -> None:
        """Emit a block of rows from ``self.row`` on."""
        lanes = self.lanes
        self.allocate(rows, self.chunk)
        self.top, self.total, self.shrink = (T.alloc_buffer((rows,), "float32") for _ in range(3))
        self.result = T.alloc_buffer((rows, self.v.blocks * lanes), "float32")
        with T.serial(0, rows) as at:
            # The lowest number, not minus infinity: a chunk of masked keys must not make inf - inf.
            T.buffer_store(self.top, tirx.const(_LOWEST, "float32"), [at])
            T.buffer_store(self.total, tirx.const(0.0, "float32"), [at])
            with T.serial(0, self.v.blocks) as block, T.vectorized(0, lanes) as lane:
                T.buffer_store(self.result, tirx.const(0.0, "float32"), [at, block * lanes + lane])
        tiles = starts(balanced(rows, self.tile))
        whole, left = divmod(self.shapes.keys, self.chunk * lanes)
        if whole:
            with T.serial(0, whole) as index:
                self._chunk(tiles, rows, index * self.chunk, self.chunk * lanes)
        if left:
            self._chunk(tiles, rows, tirx.const(whole * self.chunk, "int32"), left)
        with T.serial(0, rows) as at:
            T.buffer_store(self.scale, tirx.const(1.0, "float32") / self.total[at], [at])
            with T.serial(0, self.v.blocks) as block:
                self.store_vector(at, block, lambda lane: self.result[at, block * lanes + lane])

    def _chunk(self, tiles: Tiles, rows: int, origin: Expr, keys: int) -> None:
        self.score_tiles(tiles, origin, keys)
        with T.serial(0, rows) as at:
            self._softmax_of_chunk(at, -(-keys // self.lanes) * self.lanes)
        self.each_value_tile(tiles, origin * self.lanes, keys, self._accumulate)

    def _softmax_of_chunk(self, at: Expr, width: int) -> None:
        """Emit one row's exponentials in a chunk, and what its maximum and sum become."""
        top = T.alloc_buffer((1,), "float32")
        T.buffer_store(top, tirx.max(self.greatest(at, width), self.top[at]), [0])
        bindings = Bindings()
        lower = bindings.bind(self.top[at] - top[0])
        T.buffer_store(self.shrink, bindings.close(exp_nonpositive(bindings, lower)), [at])
        T.buffer_store(self.top, top[0], [at])
        total = self.exponentials(at, top[0], width)
        T.buffer_store(self.total, self.total[at] * self.shrink[at] + total, [at])

    def _accumulate(self, sums: RegisterTile, local: Expr, block: Expr) -> None:
        def add(at: Expr, vector: int, lane: Expr) -> None:
            place = [local + at, (block + vector) * self.lanes + lane]
            value = self.result[tuple(place)] * self.shrink[local + at] + sums.sum(at, vector, lane)
            T.buffer_store(self.result, value, place)

        sums.each(add)
