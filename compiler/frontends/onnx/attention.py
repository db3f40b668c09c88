"""Scaled dot-product attention in canonical Relax: the part that every attention operator shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from ....tvm_names import dtype_of, is_constant, shape_of
from .node import Node

if TYPE_CHECKING:
    from tvm.relax import Expr

#: Element types in which softmax rounds after each of its steps, as the operator's definition has them.
_HALVES = ("float16", "bfloat16")


@dataclass(frozen=True)
class Scores:
    """What stands between the two matrix products.

    Attributes:
        scale: what the products of queries and keys are multiplied with.
        split_scale: multiply both operands with the scale's square root instead, as ai.onnx's Attention does: they
            overflow later, and round differently.
        softcap: c of ``c * tanh(s / c)``; 0 for none.
        masks: tensors added to the scores, -inf where a key must not be seen; they broadcast to [B, H, Sq, Sk].
        precision: the element type of the softmax; that of the scores by default.
        guarded: whether rows that see no key become zeros. Without it they are NaN.
    """

    scale: float
    split_scale: bool = False
    softcap: float = 0.0
    masks: Sequence[Expr] = field(default_factory=tuple)
    precision: str = ""
    guarded: bool = False


@dataclass(frozen=True)
class Attended:
    """The results of attention: its output, and the scores after each stage."""

    output: Expr
    raw: Expr
    capped: Expr
    masked: Expr
    probabilities: Expr


def attend(node: Node, q: Expr, k: Expr, v: Expr, scores: Scores) -> Attended:
    """Return ``softmax(q @ k' * scale + masks) @ v``.

    Args:
        q: [B, H, Sq, D].
        k: [B, G, Sk, D], where G divides H: every key and value head serves H / G query heads in a row.
        v: [B, G, Sk, E].
    """
    heads = shape_of(q)[1]
    k, v = repeated_heads(node, k, heads), repeated_heads(node, v, heads)
    transposed = node.transpose(k, (0, 1, 3, 2))
    if scores.split_scale:
        root = node.const(np.sqrt(np.float32(scores.scale)), q)
        raw = _matmul(node, _times(node, q, root), _times(node, transposed, root))
    else:
        raw = _times(node, _matmul(node, q, transposed), node.const(scores.scale, q))
    capped = _capped(node, raw, scores.softcap)
    masked, bias = capped, None
    if scores.masks:
        bias = scores.masks[0]
        for mask in scores.masks[1:]:
            bias = added(node, bias, mask)
        masked = node.emit(relax.op.add(capped, bias))
    probabilities = softmax(node, node.cast(masked, scores.precision or dtype_of(q)), -1)
    if scores.guarded and bias is not None:
        probabilities = _guarded(node, probabilities, bias)
    probabilities = node.cast(probabilities, dtype_of(q))
    return Attended(_matmul(node, probabilities, v), raw, capped, masked, probabilities)


def softmax(node: Node, data: Expr, axis: int) -> Expr:
    """Return softmax along an axis; of halves every step is rounded, as in the operator's definition."""
    if dtype_of(data) not in _HALVES:
        return node.emit(relax.op.nn.softmax(data, axis))
    top = node.emit(relax.op.max(data, axis, keepdims=True))
    exponents = node.emit(relax.op.exp(node.emit(relax.op.subtract(data, top))))
    return node.emit(relax.op.divide(exponents, node.emit(relax.op.sum(exponents, axis, keepdims=True))))


def repeated_heads(node: Node, data: Expr, heads: int) -> Expr:
    """Return [B, H, S, D] of [B, G, S, D]: each head H / G times in a row."""
    batch, groups, length, size = shape_of(data)
    if groups == heads:
        return data
    wide = node.reshape(data, (batch, groups, 1, length, size))
    spread = node.emit(relax.op.broadcast_to(wide, (batch, groups, heads // groups, length, size)))
    return node.reshape(spread, (batch, heads, length, size))


def split_heads(node: Node, data: Expr, heads: int) -> Expr:
    """Return [B, H, S, D] of [B, S, H * D]."""
    batch, length, hidden = shape_of(data)
    return node.transpose(node.reshape(data, (batch, length, heads, hidden // heads)), (0, 2, 1, 3))


def joined_heads(node: Node, data: Expr) -> Expr:
    """Return [B, S, H * D] of [B, H, S, D]."""
    batch, heads, length, size = shape_of(data)
    return node.reshape(node.transpose(data, (0, 2, 1, 3)), (batch, length, heads * size))


def additive(node: Node, mask: Expr, like: Expr, hidden: float = -np.inf) -> Expr:
    """Return a mask of truth values as what to add: nothing where it is true, else ``hidden``."""
    return node.emit(relax.op.where(mask, node.const(0, like), node.const(hidden, like)))


def window_mask(node: Node, lengths: tuple[int, int], offset: Expr | int, left: int, right: int, like: Expr) -> Expr:
    """Return as a mask to add which keys a query sees: ``p - left <= key <= p + right`` with p = query + offset.

    Args:
        lengths: how many queries and keys.
        offset: a number, or one for each sequence as int64 [B], which gives a mask of [B, 1, Sq, Sk].
        left, right: -1 for no bound.
    """
    queries, keys = lengths
    distance = np.arange(queries)[:, None] - np.arange(keys)[None, :]
    if isinstance(offset, int):
        seen = np.ones(lengths, bool)
        seen &= (distance + offset <= left) if left >= 0 else True
        seen &= (-(distance + offset) <= right) if right >= 0 else True
        return node.const(np.where(seen, 0.0, -np.inf), like)
    shifted = node.emit(
        relax.op.add(node.reshape(offset, (shape_of(offset)[0], 1, 1, 1)), node.const(distance, offset))
    )
    mask: Expr | None = None
    for bound, sign in ((left, 1), (right, -1)):
        if bound >= 0:
            signed = node.emit(relax.op.multiply(shifted, node.const(sign, offset)))
            inside = node.emit(relax.op.less_equal(signed, node.const(bound, offset)))
            part = additive(node, inside, like)
            mask = part if mask is None else added(node, mask, part)
    return additive(node, node.const(True, "bool"), like) if mask is None else mask


def added(node: Node, a: Expr, b: Expr) -> Expr:
    """Return the sum of two masks; of constants at once."""
    if is_constant(a) and is_constant(b):
        return node.const(a.value.numpy() + b.value.numpy(), a)
    return node.emit(relax.op.add(a, b))


def _guarded(node: Node, probabilities: Expr, bias: Expr) -> Expr:
    """Return zeros for the queries that see no key."""
    if is_constant(bias) and not np.isneginf(bias.value.numpy().astype(np.float32)).all(-1).any():
        return probabilities
    closed = node.emit(relax.op.equal(bias, node.const(-np.inf, bias)))
    # Relax's minimum of truth values is that of integers.
    shut = node.emit(relax.op.min(node.cast(closed, "int8"), -1, keepdims=True))
    return node.emit(relax.op.where(node.cast(shut, "bool"), node.const(0, probabilities), probabilities))


def _capped(node: Node, scores: Expr, cap: float) -> Expr:
    if cap <= 0.0:
        return scores
    limit = node.const(cap, scores)
    inner = node.emit(relax.op.tanh(node.emit(relax.op.divide(scores, limit))))
    return node.emit(relax.op.multiply(inner, limit))


def _times(node: Node, data: Expr, factor: Expr) -> Expr:
    return node.emit(relax.op.multiply(data, factor))


def _matmul(node: Node, a: Expr, b: Expr) -> Expr:
    return node.emit(relax.op.matmul(a, b))
