"""Bodies of control flow as functions beside ``main``: what they read from outside becomes a parameter."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Several
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import GraphProto
from tvm import relax
from tvm_ffi import structural_equal

from ....atoms import plain
from ....errors import UserError
from ....signature import TensorSpec
from ....tvm_names import dims_of, dtype_of, shape_of
from .functions import reads_of
from .graph_rows import GraphNode, leaves_of, with_leaves
from .limits import MOST_BLOCKS
from .shape_values import ShapeValue
from .strings import refuse_labels


@dataclass(frozen=True)
class Block:
    """A body that was imported as a function.

    Attributes:
        name: the function's, in the module.
        captures: what it reads from outside; its last parameters.
        results: its results as the body computed them.
        types: the types of the tensors among them.
    """

    name: str
    captures: tuple[Any, ...]
    results: tuple[Any, ...]
    types: tuple[Any, ...]


def make_block(
    node: GraphNode,
    name: str,
    graph: GraphProto,
    params: Several[tuple[str, Any]] = (),
    finish: Callable[[list[Any]], list[Any]] = list,
) -> Block:
    """Import a body as a function of the module.

    Args:
        name: the attribute that holds the body.
        params: names and values of the body's inputs: a TensorSpec becomes a parameter, an array stays what it is.
        finish: from the body's results to those of the function.
    """
    outer = node.importer.builder
    if len(outer.block_names()) >= MOST_BLOCKS:
        raise UserError(f"the model has more than {MOST_BLOCKS} bodies of branches and loops")
    builder = outer.nested()
    node.importer.builder = builder
    try:
        bound = {each: builder.parameter(what) if isinstance(what, TensorSpec) else what for each, what in params}
        captured: dict[Any, Any] = {}
        inner = {each: _captured(node.scope[each], builder, captured) for each in reads_of(graph) if each in node.scope}
        results = finish(node.importer.body(graph, bound, inner, node))
        exprs = [node.importer.expr(leaf) for each in results for leaf in leaves_of(each)]
    finally:
        node.importer.builder = outer
    refuse_labels(captured, outer.labels)
    refuse_labels(exprs, builder.labels)
    title, read = builder.finish_block(name, exprs, list(captured.values()))
    captures = tuple(value for value, param in captured.items() if param in read)
    return Block(title, captures, tuple(results), tuple(each.ty for each in exprs))


def _captured(value: Any, builder: Any, captured: dict[Any, Any]) -> Any:
    """Return what stands inside for a value outside: a parameter for each tensor that is not known."""
    leaves = []
    for leaf in leaves_of(value):
        if isinstance(leaf, np.ndarray | ShapeValue):
            leaves.append(leaf)
            continue
        if leaf not in captured:
            captured[leaf] = builder.parameter(TensorSpec(str(leaf.name), shape_of(leaf), dtype_of(leaf)))
        leaves.append(captured[leaf])
    return with_leaves(value, leaves)


def written(kind: Any) -> str:
    """Return a tensor type as people write it."""
    return f"{kind.dtype} [{', '.join(map(plain, dims_of(kind)))}]"


def same_types(one: Several[Any], other: Several[Any]) -> bool:
    """Return whether tensors have the same shapes and element types, one by one."""
    return len(one) == len(other) and all(structural_equal(a, b) for a, b in zip(one, other, strict=True))


def fields_of(node: GraphNode, call: relax.Call, count: int) -> list[Any]:
    """Bind a call whose result is a tuple; return its fields."""
    whole = node.emit(call)
    return [node.emit(relax.TupleGetItem(whole, index)) for index in range(count)]
