"""Slices of tensors and tensors made of slices, known or computed."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from ....tvm_names import shape_of
from .graph_rows import GraphNode


def moved_axis(node: GraphNode, value: Any, source: int, target: int) -> Any:
    """Return a tensor with one axis moved."""
    if source == target:
        return value
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(np.moveaxis(value, source, target))
    order = list(range(len(shape_of(value))))
    order.insert(target, order.pop(source))
    return node.emit(relax.op.permute_dims(value, order))


def slice_of(node: GraphNode, value: Any, index: int) -> Any:
    """Return one slice along the first axis, without that axis."""
    if isinstance(value, np.ndarray):
        return value[index]
    shape = shape_of(value)
    if shape[0] == 1:
        return node.emit(relax.op.reshape(value, shape[1:]))
    part = node.emit(relax.op.strided_slice(value, [0], [index], [index + 1]))
    return node.emit(relax.op.reshape(part, shape[1:]))


def stacked(node: GraphNode, values: list[Any]) -> Any:
    """Return tensors of one shape stacked along a new first axis."""
    if all(isinstance(each, np.ndarray) for each in values):
        return np.stack(values)
    exprs = [node.importer.expr(each) for each in values]
    rows = [node.emit(relax.op.reshape(each, (1, *shape_of(each)))) for each in exprs]
    return rows[0] if len(rows) == 1 else node.emit(relax.op.concat(rows, 0))
