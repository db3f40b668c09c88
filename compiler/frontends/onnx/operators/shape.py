"""Operators that move elements and compute nothing: reshapes, transposes, joins and cuts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tvm import relax

from .....errors import UserError
from .....tvm_names import shape_of
from ..node import Node, positive_axis, rank_of
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("Reshape")
def reshape_attribute(node: Node, data: Expr) -> Expr:
    """Another shape, given by the attribute ``shape`` before opset 5."""
    return _reshape(node, data, node.get_ints("shape", ()))


@operator("Reshape", since=5)
def reshape(node: Node, data: Expr, shape: Expr) -> Expr:
    """Another shape; -1 is what remains and 0 keeps the dimension, unless ``allowzero`` (opset 14)."""
    return _reshape(node, data, node.int_list(shape, "the shape of Reshape"))


@operator("Flatten")
def flatten(node: Node, data: Expr) -> Expr:
    """Two dimensions: those before ``axis`` and the others; it becomes a reshape."""
    shape = shape_of(data)
    axis = node.get_int("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return node.reshape(data, (math.prod(shape[:axis]), math.prod(shape[axis:])))


@operator("Transpose")
def transpose(node: Node, data: Expr) -> Expr:
    """Permuted axes, reversed where ``perm`` is not given."""
    return node.transpose(data, node.get_ints("perm", tuple(reversed(range(rank_of(data))))))


def _reshape(node: Node, data: Expr, target: tuple[int, ...]) -> Expr:
    shape = shape_of(data)
    if not node.get_int("allowzero", 0):
        if any(dim == 0 and index >= len(shape) for index, dim in enumerate(target)):
            raise UserError(f"its shape {list(target)} copies a dimension that {list(shape)} does not have")
        target = tuple(shape[index] if dim == 0 else dim for index, dim in enumerate(target))
    known = math.prod(dim for dim in target if dim != -1)
    total = math.prod(shape)
    if target.count(-1) > 1 or (known != total and (-1 not in target or known == 0 or total % known)):
        raise UserError(f"a tensor of shape {list(shape)} cannot take the shape {list(target)}")
    return node.reshape(data, tuple(total // known if dim == -1 else dim for dim in target))
