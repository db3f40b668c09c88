"""Rotary position embeddings (Su et al., RoFormer, 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvm import relax

from ....tvm_names import shape_of
from .node import Node

if TYPE_CHECKING:
    from tvm.relax import Expr


def rotated(node: Node, data: Expr, cos: Expr, sin: Expr, size: int, interleaved: bool) -> Expr:
    """Return data with pairs of its last axis rotated.

    Args:
        data: [B, H, S, D].
        cos, sin: of the angles, [B or 1, S, size / 2] or [S, size / 2].
        size: how many elements at the front of the last axis are rotated.
        interleaved: pairs are neighbours; else the first half goes with the second.
    """
    batch, heads, length, whole = shape_of(data)
    half = size // 2
    cos, sin = (_spread(node, each, length, half) for each in (cos, sin))
    front = _sliced(node, data, 0, size) if size < whole else data
    if interleaved:
        pairs = node.reshape(front, (batch, heads, length, half, 2))
        first, second = (node.reshape(_sliced(node, pairs, at, at + 1), (batch, heads, length, half)) for at in (0, 1))
    else:
        first, second = _sliced(node, front, 0, half), _sliced(node, front, half, size)
    real = node.emit(relax.op.subtract(_product(node, cos, first), _product(node, sin, second)))
    imaginary = node.emit(relax.op.add(_product(node, sin, first), _product(node, cos, second)))
    if interleaved:
        parts = [node.reshape(each, (batch, heads, length, half, 1)) for each in (real, imaginary)]
        turned = node.reshape(node.emit(relax.op.concat(parts, -1)), (batch, heads, length, size))
    else:
        turned = node.emit(relax.op.concat([real, imaginary], -1))
    if size == whole:
        return turned
    return node.emit(relax.op.concat([turned, _sliced(node, data, size, whole)], -1))


def _spread(node: Node, angles: Expr, length: int, half: int) -> Expr:
    shape = shape_of(angles)
    if len(shape) == 3:
        return node.reshape(angles, (shape[0], 1, length, half))
    return node.reshape(angles, (1, 1, length, half))


def _product(node: Node, a: Expr, b: Expr) -> Expr:
    return node.emit(relax.op.multiply(a, b))


def _sliced(node: Node, data: Expr, begin: int, end: int) -> Expr:
    return node.emit(relax.op.strided_slice(data, [-1 + len(shape_of(data))], [begin], [end]))
