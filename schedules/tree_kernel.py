"""What every kernel of a tree ensemble shares: its operands, the columns of ranks, the sums.

Columns are written for a block of rows, [column, row], or for one row with the tables as lanes of a vector.
"""

from __future__ import annotations

import math

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ..tree_ensemble import TreeEnsemble
from .bindings import Expr
from .kernel import Kernel
from .tree_vectors import LANES, Lookups, missing, number, opaque, ramp, scratch, splat, vector_type
from .vectors import flat_view

#: Vectors of rows whose binary searches run side by side.
_SEARCHES = 4


class TreeKernel:
    """A tree ensemble being written.

    Args:
        kernel: its parameters.
        lookups: how the target reads by vectors of places.
        block: how many rows are taken at a time; a multiple of 64, or 1.
    """

    def __init__(self, kernel: Kernel, lookups: Lookups, block: int) -> None:
        self.kernel, self.lookups, self.block = kernel, lookups, block
        self.work = work = kernel.work
        self.ensemble = TreeEnsemble.of(dict(work.attrs))
        names = self.ensemble.operands
        self.types = dict(zip(names, work.inputs, strict=False))
        self.flat = {name: flat_view(each) for name, each in zip(names, kernel.inputs, strict=False)}
        self.rows, self.features = self.types["x"].shape
        self.tables = self.types["tables"].shape[1]
        self.trees = self.types["leaves" if "node_rank" in names else "trees"].shape[0 if "node_rank" in names else 1]
        self.sets = self.types["sets"].shape[1] if self.ensemble.sets else 0
        self.plain = self.ensemble.sides * self.tables
        self.columns = self.plain + self.sets
        self.outputs = self.types["base"].shape[0]
        self.dtype, self.rank_dtype = self.types["x"].dtype, self.types["missing"].dtype
        self.value_dtype = self.types["leaves"].dtype
        self.values = self.types["leaves"].shape[1]

    def allocate(self) -> None:
        """Allocate what a block needs; must stand where the block's loop begins."""
        # Behind the last column, look-ups of four bytes may read on.
        self.written_ranks = scratch((self.columns + 1) * self.block + 64, self.rank_dtype)
        self.sums = scratch(self.outputs * self.block, self.value_dtype)
        # Through a view: the analysis of allocations would bound the buffer by places that are read from memory.
        self.ranks = T.decl_buffer(self.written_ranks.shape, self.rank_dtype, data=self.written_ranks.data)

    def table(self, field: int, table: Expr) -> Expr:
        """Return a field of a table's description: feature, begin, steps."""
        return self.flat["tables"][field * self.tables + table]

    def rank_rows(self, first: Expr) -> None:
        """Emit the columns of the block's rows; those behind the last row repeat it."""
        found = scratch(_SEARCHES * LANES, "int32")
        value = scratch(_SEARCHES * LANES, self.dtype)
        group = _SEARCHES * LANES
        with T.serial(0, self.tables) as table, T.serial(0, self.block // group) as part:
            feature, begin, steps = (T.bind(self.table(field, table)) for field in range(3))
            for at in range(_SEARCHES):
                rows = ramp(first + part * group + at * LANES)
                rows = tirx.min(rows, splat(self.rows - 1)) if self.rows % self.block else rows
                places = rows * splat(self.features) + splat(feature)
                T.buffer_store(value, self.lookups.gather(self.flat["x"], places, self.dtype), [ramp(at * LANES)])
                T.buffer_store(found, splat(0), [ramp(at * LANES)])
            with T.serial(0, steps) as step:
                width = T.bind(number(1) << (steps - 1 - step))
                for at in range(_SEARCHES):
                    lanes = ramp(at * LANES)
                    places = found[lanes] + splat(begin + width - 1)
                    bound = self.lookups.gather(self.flat["boundaries"], places, self.dtype)
                    higher = found[lanes] + splat(width)
                    T.buffer_store(found, tirx.Select(value[lanes] >= bound, higher, found[lanes]), [lanes])
            for at in range(_SEARCHES):
                self._store_ranks(table, part * group + at * LANES, value[ramp(at * LANES)], found[ramp(at * LANES)])
        if self.sets:
            self._rank_sets()

    def _store_ranks(self, table: Expr, row: Expr, value: Expr, found: Expr) -> None:
        for side in range(self.ensemble.sides):
            column = table + side * self.tables
            absent = splat(self.flat["missing"][column].astype("int32"))
            rank = tirx.Select(missing(value, self.dtype), absent, found).astype(vector_type(self.rank_dtype))
            T.buffer_store(self.written_ranks, rank, [ramp(column * self.block + row)])

    def _rank_sets(self) -> None:
        sets, members = self.flat["sets"], self.flat["members"]
        with T.serial(0, self.sets) as at, T.serial(0, self.block) as row:
            rank = self.ranks[opaque(sets[at] * self.block, 1) + row].astype("int32")
            inside = members[sets[self.sets + at] + rank].astype(self.rank_dtype)
            T.buffer_store(self.written_ranks, inside, [(at + self.plain) * self.block + row])

    def rank_one(self, row: Expr) -> None:
        """Emit the columns of one row, the tables as lanes: every search takes the steps of the longest."""
        found = scratch(LANES, "int32")
        with T.serial(0, self.tables // LANES) as part:
            feature, begin, steps = (
                self.flat["tables"][ramp(field * self.tables + part * LANES)] for field in range(3)
            )
            value = self.lookups.gather(self.flat["x"], feature + splat(row * self.features), self.dtype)
            lanes = ramp(0)
            T.buffer_store(found, splat(0), [lanes])
            for step in reversed(range(self.ensemble.steps)):
                higher = found[lanes] + splat(1 << step)
                within = higher < (splat(1) << steps)
                places = begin + tirx.Select(within, higher - splat(1), splat(0))
                bound = self.lookups.gather(self.flat["boundaries"], places, self.dtype)
                moves = tirx.Select(within, higher, found[lanes])
                T.buffer_store(found, tirx.Select(value >= bound, moves, found[lanes]), [lanes])
            for side in range(self.ensemble.sides):
                column = part * LANES + side * self.tables
                absent = self.flat["missing"][ramp(column)].astype(vector_type("int32"))
                rank = tirx.Select(missing(value, self.dtype), absent, found[lanes])
                T.buffer_store(self.written_ranks, rank.astype(vector_type(self.rank_dtype)), [ramp(column)])
        if self.sets:
            self._rank_sets()

    def begin_sums(self) -> None:
        """Emit the first values of the block's sums, [output, row]."""
        with T.serial(0, self.outputs) as output, T.serial(0, self.block) as row:
            T.buffer_store(self.sums, self._first(output), [output * self.block + row])

    def _first(self, output: Expr) -> Expr:
        if self.ensemble.aggregate == "sum":
            return self.flat["base"][output]
        return tirx.const(math.inf if self.ensemble.aggregate == "min" else -math.inf, self.value_dtype)

    def aggregated(self, total: Expr, value: Expr) -> Expr:
        """Return a sum, or what else the ensemble makes of its trees, with one more value."""
        folds = {"sum": lambda a, b: a + b, "min": tirx.min, "max": tirx.max}
        return folds[self.ensemble.aggregate](total, value)

    def output_of(self, tree: Expr, value: Expr | int) -> Expr:
        """Return the output to which a tree's value counts."""
        return opaque(self.flat["target"][tree], 1) if self.ensemble.targets else value

    def add(self, output: Expr, row: Expr, value: Expr, lanes: int = LANES) -> None:
        """Emit the addition of a tree's values for adjacent rows."""
        places = ramp(output * self.block + row, lanes)
        T.buffer_store(self.sums, self.aggregated(self.sums[places], value), [places])

    def store(self, first: Expr) -> None:
        """Emit the outputs of the block's rows that exist, the epilogue applied."""
        count = tirx.min(self.block, self.rows - first) if self.rows % self.block else self.block
        with T.serial(0, count) as row, T.serial(0, self.outputs) as output:
            total = self.sums[output * self.block + row]
            if self.ensemble.aggregate != "sum":
                total = total + self.flat["base"][output]
            logical = [first + row, output]
            self.kernel.store(self.kernel.finish(total, logical), logical)
