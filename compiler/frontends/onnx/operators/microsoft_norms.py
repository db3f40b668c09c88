"""Normalizations of com.microsoft, with the additions that go before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....errors import UserError
from .....tvm_names import dtype_of, shape_of
from ..node import Node, constant, positive_axis, rank_of
from ..registry import operator
from .microsoft_linear import DOMAIN

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("SkipLayerNormalization", domain=DOMAIN)
def skip_layer_normalization(
    node: Node, data: Expr, skip: Expr, gamma: Expr, beta: Expr | None = None, bias: Expr | None = None
) -> list[Expr]:
    """Layer norm of a sum; the fourth output is the sum itself."""
    total = _sum(node, data, skip, bias)
    beta = constant(np.zeros(shape_of(gamma), np.dtype(dtype_of(gamma)))) if beta is None else beta
    return _with_sum(node, _layer_norm(node, total, gamma, beta, node.get_float("epsilon", 1e-12)), total)


@operator("SkipSimplifiedLayerNormalization", domain=DOMAIN)
def skip_simplified_layer_normalization(
    node: Node, data: Expr, skip: Expr, gamma: Expr, bias: Expr | None = None
) -> list[Expr]:
    """RMS norm of a sum; the fourth output is the sum itself."""
    total = _sum(node, data, skip, bias)
    return _with_sum(node, relax.op.nn.rms_norm(total, gamma, [-1], node.get_float("epsilon", 1e-12)), total)


@operator("SimplifiedLayerNormalization", domain=DOMAIN)
@operator("SimplifiedLayerNormalization")
def simplified_layer_normalization(node: Node, data: Expr, gamma: Expr) -> Expr | tuple[Expr, Expr]:
    """RMS norm over the axes from ``axis`` on; the second output is the inverse root of the mean square."""
    axes = list(range(positive_axis(node.get_int("axis", -1), rank_of(data)), rank_of(data)))
    epsilon = node.get_float("epsilon", 1e-5)
    out = node.emit(relax.op.nn.rms_norm(data, gamma, axes, epsilon))
    if not node.wants(1):
        return out
    square = node.emit(relax.op.mean(node.emit(relax.op.multiply(data, data)), axes, keepdims=True))
    return out, relax.op.rsqrt(node.emit(relax.op.add(square, node.const(epsilon, square))))


@operator("GroupNorm", domain=DOMAIN)
def group_norm(node: Node, data: Expr, gamma: Expr, beta: Expr) -> Expr:
    """Normalization of groups of channels, which are last unless ``channels_last`` is 0; then SiLU where asked."""
    rank = rank_of(data)
    last = bool(node.get_int("channels_last", 1))
    planar = node.transpose(data, (0, rank - 1, *range(1, rank - 1))) if last else data
    groups, epsilon = node.get_int("groups", 1), node.get_float("epsilon", 1e-5)
    made = node.emit(relax.op.nn.group_norm(planar, gamma, beta, groups, 1, list(range(2, rank)), epsilon))
    made = node.emit(relax.op.nn.silu(made)) if node.get_int("activation", 0) else made
    return node.transpose(made, (0, *range(2, rank), 1)) if last else made


@operator("SkipGroupNorm", domain=DOMAIN)
def skip_group_norm(
    node: Node, data: Expr, gamma: Expr, beta: Expr, skip: Expr, bias: Expr | None = None
) -> tuple[Expr, Expr]:
    """GroupNorm of a sum; the second output is the sum itself. The skip may be one number a channel."""
    rank, last = rank_of(data), bool(node.get_int("channels_last", 1))
    added = [skip] if bias is None else [skip, bias]
    if not last and bias is not None:
        added[1] = node.reshape(bias, (*shape_of(bias), *(1,) * (rank - 2)))
    if rank_of(skip) == 2:
        batch, channels = shape_of(skip)
        ones = (1,) * (rank - 2)
        added[0] = node.reshape(skip, (batch, *ones, channels) if last else (batch, channels, *ones))
    total = data
    for each in added:
        total = node.emit(relax.op.add(total, each))
    return group_norm(node, total, gamma, beta), total


@operator("EmbedLayerNormalization", domain=DOMAIN)
def embed_layer_normalization(
    node: Node,
    ids: Expr,
    segments: Expr | None,
    words: Expr,
    positions: Expr,
    segment_table: Expr | None,
    gamma: Expr,
    beta: Expr,
    mask: Expr | None = None,
    position_ids: Expr | None = None,
) -> list[Expr]:
    """Layer norm of the sum of word, position and segment embeddings; further outputs: lengths by mask, the sum."""
    total = node.emit(relax.op.take(words, ids, axis=0, mode="clip"))
    if position_ids is None:
        length = shape_of(ids)[1]
        places = node.emit(relax.op.strided_slice(positions, [0], [0], [length]))
    else:
        places = node.emit(relax.op.take(positions, position_ids, axis=0, mode="clip"))
    total = node.emit(relax.op.add(total, places))
    if segments is not None and segment_table is not None:
        total = node.emit(relax.op.add(total, node.emit(relax.op.take(segment_table, segments, axis=0, mode="clip"))))
    out = _layer_norm(node, total, gamma, beta, node.get_float("epsilon", 1e-12))
    results = [node.emit(out)]
    if node.wants(1) or node.wants(2):
        none = node.const(np.zeros(shape_of(ids)[0]), "int32")
        results.append(none if mask is None else node.emit(relax.op.sum(node.cast(mask, "int32"), 1)))
    return [*results, total] if node.wants(2) else results


def _sum(node: Node, data: Expr, skip: Expr, bias: Expr | None) -> Expr:
    total = node.emit(relax.op.add(data, skip))
    return total if bias is None else node.emit(relax.op.add(total, bias))


def _layer_norm(node: Node, data: Expr, gamma: Expr, beta: Expr, epsilon: float) -> Expr:
    return relax.op.nn.layer_norm(data, gamma, beta, axes=[-1], epsilon=epsilon)


def _with_sum(node: Node, out: Expr, total: Expr) -> list[Expr]:
    """Return the outputs: the second and third are for training only."""
    if node.wants(1) or node.wants(2):
        raise UserError("the mean and the variance of a normalization are outputs for training: export for inference")
    made = node.emit(out)
    return [made, made, made, total] if node.wants(3) else [made]
