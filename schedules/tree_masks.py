"""Complete trees without walking: every node of a tree is tested, and the tests' bits are folded to the leaf.

A word holds the outcome of one node for 64 rows (or of the same node of 64 trees). The bit of a level is that node's on
the path that the levels above took:

    level[0] = node 0;  level[1] = level[0] ? node 2 : node 1;  level[2] = level[0] ? (level[1] ? 6 : 5) : ...

so the levels' words are the bits of the leaf's number. All loops are over data that does not depend on the path.
"""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from .bindings import Expr
from .tree_kernel import TreeKernel
from .tree_vectors import LANES, WORD, bits_of, number, opaque, ramp, scratch, splat, vector_type, word_of

#: Folds of more nodes than this stay loops.
_UNROLLED = 16


class Masks:
    """The words of one tree's nodes and levels, each a vector of ``words``.

    Args:
        depth: the trees' depth, up to 8.
        words: words of a node.
    """

    def __init__(self, depth: int, words: int) -> None:
        self.depth, self.words = depth, words
        self.leaves = 2**depth
        self.nodes = scratch((self.leaves - 1) * words, "uint64")
        self.levels = scratch(depth * words, "uint64")
        self.folded = scratch(max(1, self.leaves // 4) * words, "uint64")
        self.index = scratch(WORD, "uint8")

    def set_node(self, node: Expr, word: Expr, condition: Expr) -> None:
        """Emit the store of 64 outcomes of a node."""
        T.buffer_store(self.nodes, word_of(condition), [node * self.words + word])

    def fold(self) -> None:
        """Emit the levels' words from the nodes'."""
        self._store(self.levels, 0, self._at(self.nodes, 0))
        for level in range(1, self.depth):
            source, base, count = self.nodes, 2**level - 1, 2**level
            for above in range(level):
                count //= 2
                bit = self._at(self.levels, above)
                with (T.unroll if count <= _UNROLLED else T.serial)(0, count) as at:
                    high, low = self._at(source, base + count + at), self._at(source, base + at)
                    self._store(self.folded, at, (bit & high) | (tirx.bitwise_not(bit) & low))
                source, base = self.folded, 0
            self._store(self.levels, level, self._at(self.folded, 0))

    def leaf_numbers(self, word: Expr) -> None:
        """Emit the numbers of 64 leaves to ``index``."""
        total = splat(number(0, "uint8"), WORD)
        for level in range(self.depth):
            bit = splat(number(self.leaves >> (level + 1), "uint8"), WORD)
            total = tirx.Select(bits_of(self.levels[level * self.words + word]), total | bit, total)
            T.buffer_store(self.index, total, [ramp(0, WORD)])
            total = self.index[ramp(0, WORD)]

    def leaf_number(self, first: Expr | int) -> Expr:
        """Return 16 numbers of leaves as integers."""
        return self.index[ramp(first)].astype(vector_type("int32"))

    def _at(self, buffer: Any, place: Expr | int) -> Expr:
        return buffer[ramp(place * self.words, self.words)]

    def _store(self, buffer: Any, place: Expr | int, value: Expr) -> None:
        T.buffer_store(buffer, value, [ramp(place * self.words, self.words)])


def evaluate_rows(tree_kernel: TreeKernel) -> None:
    """Emit the trees over a block of rows, whose columns and first sums are there: one tree after the other."""
    own, depth = tree_kernel, tree_kernel.ensemble.depth
    inner, words = 2**depth - 1, own.block // WORD
    masks = Masks(depth, words)
    with T.serial(0, own.trees) as tree:
        with T.serial(0, inner) as node:
            place = T.bind(tree * inner + node)
            column = opaque(T.bind(own.flat["node_column"][place].astype("int32") * own.block), 1)
            rank = T.bind(own.flat["node_rank"][place])
            with T.unroll(0, words) as word:
                ranks = own.ranks[ramp(column + word * WORD, WORD)]
                masks.set_node(node, word, ranks >= splat(rank, WORD))
        masks.fold()
        with T.serial(0, words) as word:
            masks.leaf_numbers(word)
            with T.serial(0, own.values) as value:
                begin = T.bind((tree * own.values + value) * (inner + 1))
                output = own.output_of(tree, value)
                for at in range(0, WORD, LANES):
                    number_of_leaf = masks.leaf_number(at)
                    found = own.lookups.leaf(own.flat["leaves"], begin, inner + 1, number_of_leaf, own.value_dtype)
                    own.add(output, word * WORD + at, found)
