"""NonMaxSuppression: as many results as boxes are chosen, known only to a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....errors import UserError
from .....passes.tensor_functions.operator import call
from .....shapes import is_static
from .....tvm_names import constant_value, is_constant, shape_of
from ..node import Node
from ..registry import operator
from .data_dependent import found_places

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("NonMaxSuppression")
def non_max_suppression(
    node: Node,
    boxes: Expr,
    scores: Expr,
    limit: Expr | None = None,
    overlap: Expr | None = None,
    least: Expr | None = None,
) -> Expr:
    """The chosen boxes, int64 [chosen, 3]: image, class, box; in the order of images, classes and choice."""
    shape = shape_of(scores)
    if not is_static((*shape, *shape_of(boxes))):
        raise UserError("the sizes of its operands are known only to a run; give the inputs fixed sizes")
    _, classes, count = shape
    most = count
    if limit is None or is_constant(limit):
        most = min(count, int(constant_value(limit).reshape(())) if limit is not None else 0)
    if most < 1 or count < 1:
        raise UserError("it chooses no boxes; nothing can be compiled for a tensor without elements")
    operands = (
        _scalar(node, limit, 0, "int64"),
        _scalar(node, overlap, 0.0, "float32"),
        _scalar(node, least, -np.inf, "float32"),
    )
    centers = node.get_int("center_point_box", 0)
    found = node.emit(call("non_max_suppression", [boxes, scores, *operands], most=most, centers=centers))
    table = node.emit(relax.op.strided_slice(found, [2], [0], [most]))
    flat = node.reshape(table, (shape[0] * classes * most,))
    places = found_places(node, node.emit(relax.op.greater_equal(flat, node.const(0, flat))))
    group = node.emit(relax.op.floor_divide(places, node.const(most, places)))
    columns = (
        node.emit(relax.op.floor_divide(group, node.const(classes, group))),
        node.emit(relax.op.floor_mod(group, node.const(classes, group))),
        node.emit(relax.op.take(flat, places, 0, mode="wrap")),
    )
    return relax.op.concat([node.reshape(each, (*shape_of(each), 1)) for each in columns], 1)


def _scalar(node: Node, operand: Expr | None, default: float, dtype: str) -> Expr:
    if operand is None:
        return node.const(np.full(1, default), dtype)
    return node.reshape(node.cast(operand, dtype), (1,))
