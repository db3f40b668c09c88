"""Trees walked level by level, sixteen paths side by side: those of adjacent rows, or of adjacent trees."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from .bindings import Expr
from .tree_kernel import TreeKernel
from .tree_vectors import LANES, opaque, ramp, scratch, splat, vector_type

#: Vectors of rows that walk side by side.
_WALKS = 4


def walk_rows(own: TreeKernel) -> None:
    """Emit the trees over a block of rows whose columns and first sums are there, one tree at a time."""
    node = scratch(_WALKS * LANES, "int32")
    group = _WALKS * LANES
    with T.serial(0, own.trees) as tree, T.serial(0, own.block // group) as part:
        root, depth = T.bind(own.flat["trees"][tree]), T.bind(own.flat["trees"][own.trees + tree])
        T.buffer_store(node, splat(root, group), [ramp(0, group)])
        with T.serial(0, depth):
            for at in range(_WALKS):
                rows = ramp(part * group + at * LANES)
                _step(own, node, ramp(at * LANES), own.block, rows)
        for at in range(_WALKS):
            leaf = T.bind(_field(own, node[ramp(at * LANES)], 3) * splat(own.values))
            with T.serial(0, own.values) as value:
                found = own.lookups.gather(own.flat["leaves"], leaf + splat(value), own.value_dtype)
                own.add(own.output_of(tree, value), part * group + at * LANES, found)


def _field(own: TreeKernel, node: Expr, field: int) -> Expr:
    return own.lookups.gather(own.flat["nodes"], node * splat(4) + splat(field), "int32")


def _step(own: TreeKernel, node: Any, lanes: Expr, stride: int, rows: Expr) -> None:
    """Emit one step of sixteen paths; a leaf is its own right child, whose test always holds."""
    column, rank, left = (_field(own, node[lanes], field) for field in range(3))
    value = own.lookups.gather(own.ranks, column * splat(stride) + rows, "int32")
    right = tirx.Select(value >= rank, splat(1), splat(0))
    T.buffer_store(node, left + right, [lanes])


def walk_trees(own: TreeKernel, leaf: Any) -> None:
    """Emit the places of the first values of all trees' leaves for one row, whose columns are there."""
    if own.ensemble.strategy == "complete":
        _walk_complete_trees(own, leaf)
        return
    node = scratch(LANES, "int32")
    lanes = ramp(0)
    with T.serial(0, -(-own.trees // LANES)) as part:
        trees = T.bind(tirx.min(ramp(part * LANES), splat(own.trees - 1)))
        T.buffer_store(node, own.lookups.gather(own.flat["trees"], trees, "int32"), [lanes])
        with T.serial(0, own.ensemble.depth):
            _step(own, node, lanes, 1, splat(0))
        T.buffer_store(leaf, _field(own, node[lanes], 3) * splat(own.values), [ramp(part * LANES)])


def _walk_complete_trees(own: TreeKernel, leaf: Any) -> None:
    inner = 2**own.ensemble.depth - 1
    node = scratch(LANES, "int32")
    lanes = ramp(0)
    with T.serial(0, -(-own.trees // LANES)) as part:
        trees = T.bind(tirx.min(ramp(part * LANES), splat(own.trees - 1)))
        T.buffer_store(node, splat(0), [lanes])
        with T.serial(0, own.ensemble.depth):
            place = T.bind(trees * splat(inner) + node[lanes])
            column = T.bind(own.flat["node_column"][opaque(place)].astype(vector_type("int32")))
            right = tirx.Select(own.ranks[opaque(column)] >= own.flat["node_rank"][opaque(place)], splat(2), splat(1))
            T.buffer_store(node, node[lanes] + node[lanes] + right, [lanes])
        begin = trees * splat(own.values * (inner + 1)) + node[lanes] - splat(inner)
        T.buffer_store(leaf, begin, [ramp(part * LANES)])


def sum_trees(own: TreeKernel, leaf: Any) -> None:
    """Emit the sums of one row from the places of all trees' leaves, in the order of the trees."""
    stride = 2**own.ensemble.depth if own.ensemble.strategy == "complete" else 1
    with T.serial(0, own.trees) as tree:
        place = T.bind(leaf[tree])
        with T.serial(0, own.values) as value:
            own.add(own.output_of(tree, value), 0, own.flat["leaves"][place + value * stride], 1)
