"""An If whose branches give results of different sizes: the larger is planned, a run finds which it was.

y = if c: a [3, 5] else: b [3, k]  -->  y, n = if c: a, 5 else: b, k; y [3, n], n from 0 to the larger bound
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from ....dims import Dim, symbol, upper
from ....passes.bind_sizes import bind_sizes
from ....passes.control_flow import branch
from ....tvm_names import dims_of
from .blocks import Block, fields_of, make_block
from .graph_rows import GraphNode, leaves_of, with_leaves
from .shape_values import ShapeValue, shape_value

#: Which result, and which of its axes.
_Place = tuple[int, int]


def branches_of_several_shapes(node: GraphNode, condition: Any, then: Block, otherwise: Block) -> list[Any]:
    """Return the results of an If from its branches, which were imported once to know their types."""
    places = [
        (index, axis)
        for index, pair in enumerate(zip(then.types, otherwise.types, strict=True))
        for axis, (one, other) in enumerate(zip(*map(dims_of, pair), strict=True))
        if one != other or isinstance(one, Dim)
    ]
    one, other = (
        make_block(node, name, node.graph(name), finish=lambda results: [*results, *_sizes(node, results, places)])
        for name in ("then_branch", "else_branch")
    )
    types = [_larger(*pair) for pair in zip(then.types, otherwise.types, strict=True)]
    result = relax.TupleType([*types, *(relax.TensorType((1,), "int64") for _ in places)])
    call = branch(one.name, other.name, condition, (one.captures, other.captures), result)
    fields = fields_of(node, call, len(types) + len(places))
    leaves = fields[: len(types)]
    for place, count in zip(places, fields[len(types) :], strict=True):
        leaves[place[0]] = _bound(node, leaves[place[0]], place[1], count)
    return [with_leaves(each, leaves) for each in then.results]


def _sizes(node: GraphNode, results: list[Any], places: list[_Place]) -> list[Any]:
    """Return the sizes of a branch's results at these places, each as a value of one element."""
    leaves = [leaf for each in results for leaf in leaves_of(each)]
    shapes = [tuple(each.shape) if isinstance(each, np.ndarray | ShapeValue) else dims_of(each.ty) for each in leaves]
    return [shape_value([shapes[index][axis]]) for index, axis in places]


def _larger(one: Any, other: Any) -> Any:
    sizes = [max(map(upper, pair)) for pair in zip(dims_of(one), dims_of(other), strict=True)]
    return relax.TensorType(sizes, one.dtype)


def _bound(node: GraphNode, data: Any, axis: int, count: Any) -> Any:
    """Return a result whose axis has as many elements as a tensor says."""
    shape = list(dims_of(data.ty))
    name = node.importer.builder.unique(f"{next(filter(None, node.proto.output))}_size")
    size = symbol(name, 0, shape[axis])
    shape[axis] = size
    if not isinstance(size, Dim):
        return data
    return node.emit(bind_sizes(data, count, size, tuple(shape)))
