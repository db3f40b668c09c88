"""Sequences and optionals, which exist at import only: lists whose length and positions are known."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from ....errors import UserError
from ....tvm_names import shape_of
from .graph_rows import GraphNode, Nothing, Sequence, graph_operator, is_tensor_value
from .node import positive_axis

#: A tensor is split into this many pieces at the most.
_MOST_PIECES = 10_000


@graph_operator("SequenceConstruct")
def _construct(node: GraphNode) -> list[Any]:
    return [Sequence(tuple(_tensor(each) for each in node.operands()))]


@graph_operator("SequenceEmpty")
def _empty(_: GraphNode) -> list[Any]:
    return [Sequence(())]


@graph_operator("SequenceLength")
def _length(node: GraphNode) -> list[Any]:
    return [np.asarray(len(_items(node)), np.int64)]


@graph_operator("SequenceAt")
def _at(node: GraphNode) -> list[Any]:
    items = _items(node)
    return [items[_position(node, 1, len(items))]]


@graph_operator("SequenceInsert")
def _insert(node: GraphNode) -> list[Any]:
    items = _items(node)
    place = _position(node, 2, len(items) + 1, first=-len(items)) if _has(node, 2) else len(items)
    return [Sequence((*items[:place], _tensor(_operand(node, 1)), *items[place:]))]


@graph_operator("SequenceErase")
def _erase(node: GraphNode) -> list[Any]:
    items = _items(node)
    place = _position(node, 1, len(items)) if _has(node, 1) else len(items) - 1
    return [Sequence((*items[:place], *items[place + 1 :]))]


@graph_operator("ConcatFromSequence")
def _concat(node: GraphNode) -> list[Any]:
    items = [_tensor(each) for each in _items(node)]
    if not items:
        raise UserError("it joins a sequence that holds nothing")
    new, rank = bool(node.attribute("new_axis", 0)), len(_shape(items[0]))
    axis = positive_axis(int(node.attribute("axis", 0)), rank + new)
    shapes = {_shape(each)[:axis] + _shape(each)[axis + (not new) :] for each in items}
    if len(shapes) > 1 or any(len(_shape(each)) != rank for each in items):
        raise UserError(
            f"the shapes {sorted({_shape(each) for each in items})} of the sequence do not join on axis {axis}"
        )
    if new:
        items = [_reshaped(node, each, (*_shape(each)[:axis], 1, *_shape(each)[axis:])) for each in items]
    if all(isinstance(each, np.ndarray) for each in items):
        return [np.concatenate(items, axis)]
    return [node.emit(relax.op.concat([node.importer.expr(each) for each in items], axis))]


@graph_operator("SplitToSequence")
def _split(node: GraphNode) -> list[Any]:
    data = _tensor(_operand(node, 0))
    shape = _shape(data)
    axis = positive_axis(int(node.attribute("axis", 0)), len(shape))
    sizes = _sizes(node, shape[axis])
    drop = not _has(node, 1) and not node.attribute("keepdims", 1)
    places = np.cumsum([0, *sizes])
    pieces = []
    for begin, end in zip(places[:-1].tolist(), places[1:].tolist(), strict=True):
        piece = _cut(node, data, axis, begin, end)
        pieces.append(_reshaped(node, piece, shape[:axis] + shape[axis + 1 :]) if drop else piece)
    return [Sequence(tuple(pieces))]


def _sizes(node: GraphNode, whole: int) -> list[int]:
    """Return the sizes of the pieces along the axis."""
    split = _known(_operand(node, 1), "split") if _has(node, 1) else np.asarray(1)
    if split.ndim:
        sizes = [int(each) for each in split]
    else:
        size = int(split)
        if size < 1 or -(-whole // size) > _MOST_PIECES:
            raise UserError(
                f"it cuts an axis of {whole} into pieces of {size}: that is no sequence that can be compiled"
            )
        sizes = [min(size, whole - begin) for begin in range(0, whole, size)]
    if sum(sizes) != whole or min(sizes, default=0) < 0:
        raise UserError(f"the sizes {sizes} of its pieces are not those of an axis of {whole}")
    return sizes


def _cut(node: GraphNode, data: Any, axis: int, begin: int, end: int) -> Any:
    if isinstance(data, np.ndarray):
        return np.take(data, range(begin, end), axis)
    if begin == end:
        shape = [*shape_of(data)]
        shape[axis] = 0
        return np.zeros(shape, str(data.ty.dtype))
    return node.emit(relax.op.strided_slice(data, [axis], [begin], [end]))


@graph_operator("SequenceMap")
def _map(node: GraphNode) -> list[Any]:
    first, *others = node.operands()
    graph = node.graph("body")
    if not isinstance(first, Sequence) or len(graph.input) != 1 + len(others):
        raise UserError("its operands do not fit its body")
    made = []
    for index, item in enumerate(first.items):
        values = [item, *(_mapped(each, index, len(first.items)) for each in others)]
        made.append(node.body(graph, dict(zip((each.name for each in graph.input), values, strict=True))))
    return [Sequence(tuple(results[at] for results in made)) for at in range(len(graph.output))]


def _mapped(value: Any, index: int, length: int) -> Any:
    if not isinstance(value, Sequence):
        return value
    if len(value.items) != length:
        raise UserError(f"its sequences have different lengths: {length} and {len(value.items)}")
    return value.items[index]


@graph_operator("Optional")
def _optional(node: GraphNode) -> list[Any]:
    return [_operand(node, 0) if _has(node, 0) else Nothing()]


@graph_operator("OptionalHasElement")
def _has_element(node: GraphNode) -> list[Any]:
    return [np.asarray(_has(node, 0) and not isinstance(_operand(node, 0), Nothing))]


@graph_operator("OptionalGetElement")
def _get_element(node: GraphNode) -> list[Any]:
    value = _operand(node, 0)
    if isinstance(value, Nothing):
        raise UserError("it reads an optional that holds nothing")
    return [value]


def _has(node: GraphNode, index: int) -> bool:
    return index < len(node.proto.input) and bool(node.proto.input[index])


def _operand(node: GraphNode, index: int) -> Any:
    if not _has(node, index):
        raise UserError(f"its operand {index} is missing")
    return node.operands()[index]


def _items(node: GraphNode) -> tuple[Any, ...]:
    value = _operand(node, 0)
    if not isinstance(value, Sequence):
        raise UserError("its first operand must be a sequence")
    return value.items


def _tensor(value: Any) -> Any:
    if value is None or not is_tensor_value(value):
        raise UserError("one of its operands is not a tensor")
    return value


def _known(value: Any, what: str) -> Any:
    if not isinstance(value, np.ndarray):
        raise UserError(f"its {what} must be constant; here it is computed from the model's inputs")
    return value


def _position(node: GraphNode, index: int, length: int, first: int | None = None) -> int:
    """Return a constant place in a sequence, counted from the front."""
    place = int(_known(_operand(node, index), "position").item())
    if not (-length if first is None else first) <= place < length:
        raise UserError(f"position {place} does not exist in a sequence of {length} places")
    return place + (length if first is None else -first) if place < 0 else place


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, np.ndarray) else shape_of(value)


def _reshaped(node: GraphNode, value: Any, shape: tuple[int, ...]) -> Any:
    if isinstance(value, np.ndarray):
        return value.reshape(shape)
    return node.emit(relax.op.reshape(value, shape))
