"""Attention of com.microsoft: as onnxruntime's optimizer and the exporters of language models write it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....errors import UserError
from .....tvm_names import dtype_of, is_constant, shape_of
from ..attention import Scores, additive, attend, joined_heads, split_heads, window_mask
from ..node import Node, rank_of
from ..registry import operator
from ..rotary import rotated
from .microsoft_linear import DOMAIN

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("Attention", domain=DOMAIN)
def attention(
    node: Node,
    data: Expr,
    weight: Expr,
    bias: Expr | None = None,
    mask: Expr | None = None,
    past: Expr | None = None,
    scores_bias: Expr | None = None,
    past_length: Expr | None = None,
) -> Sequence[Expr]:
    """Projection to queries, keys and values at once, then attention; the second output is keys and values stacked."""
    if past_length is not None or node.get_int("do_rotary", 0):
        raise UserError("Attention with a shared buffer of past keys or with do_rotary is not supported")
    whole = node.emit(relax.op.matmul(data, weight))
    whole = whole if bias is None else node.emit(relax.op.add(whole, bias))
    return attend_projected(node, whole, mask, past, scores_bias)


def attend_projected(
    node: Node, whole: Expr, mask: Expr | None, past: Expr | None, scores_bias: Expr | None
) -> Sequence[Expr]:
    """Return what Attention does with queries, keys and values side by side [B, S, sizes], biased."""
    heads = node.get_int("num_heads", 0)
    third = shape_of(whole)[-1] // 3
    sizes = node.get_ints("qkv_hidden_sizes", (third, third, third))
    q, k, v = (split_heads(node, each, heads) for each in _cut(node, whole, sizes))
    length = 0
    if past is not None:
        length = shape_of(past)[3]
        old = [_slab(node, past, at) for at in (0, 1)]
        k, v = (node.emit(relax.op.concat(pair, 2)) for pair in ([old[0], k], [old[1], v]))
    masks = _masks(node, mask, scores_bias, q, k, length)
    made = attend(node, q, k, v, Scores(_scale(node, q), masks=masks))
    results = [joined_heads(node, made.output)]
    if node.wants(1):
        stacked = [node.reshape(each, (1, *shape_of(each))) for each in (k, v)]
        results.append(node.emit(relax.op.concat(stacked, 0)))
    return results


@operator("MultiHeadAttention", domain=DOMAIN)
def multi_head_attention(
    node: Node,
    q: Expr,
    k: Expr | None = None,
    v: Expr | None = None,
    bias: Expr | None = None,
    mask: Expr | None = None,
    scores_bias: Expr | None = None,
    past_key: Expr | None = None,
    past_value: Expr | None = None,
    *buffers: Expr | None,
) -> Sequence[Expr]:
    """Attention of projected queries, keys and values; further outputs are all keys and all values."""
    if any(each is not None for each in buffers):
        raise UserError("MultiHeadAttention with a shared buffer of past keys is not supported")
    heads = node.get_int("num_heads", 0)
    q, k, v = _projections(node, q, k, v, bias, heads)
    length = 0
    if past_key is not None and past_value is not None:
        length = shape_of(past_key)[2]
        k, v = (node.emit(relax.op.concat(pair, 2)) for pair in ([past_key, k], [past_value, v]))
    made = attend(node, q, k, v, Scores(_scale(node, q), masks=_masks(node, mask, scores_bias, q, k, length)))
    return [joined_heads(node, made.output), k, v]


@operator("GroupQueryAttention", domain=DOMAIN)
def group_query_attention(
    node: Node,
    q: Expr,
    k: Expr | None,
    v: Expr | None,
    past_key: Expr | None,
    past_value: Expr | None,
    last: Expr,
    total: Expr,
    cos: Expr | None = None,
    sin: Expr | None = None,
    *others: Expr | None,
) -> Sequence[Expr]:
    """Causal attention whose key and value heads serve several query heads, with rotary embeddings and a window.

    The present keys follow the past ones, so ``total`` must be constant and the past that long. With no past, ``last``
    (the place of each sequence's last key) may be a run-time value: later keys are padding.
    """
    if any(each is not None for each in others):
        raise UserError("GroupQueryAttention with position_ids, an attention bias or sinks is not supported")
    heads, groups = node.get_int("num_heads", 0), node.get_int("kv_num_heads", 0)
    if k is None or v is None:
        size = shape_of(q)[2] // (heads + 2 * groups)
        q, k, v = _cut(node, q, (heads * size, groups * size, groups * size))
    q, k, v = split_heads(node, q, heads), split_heads(node, k, groups), split_heads(node, v, groups)
    start = _past_length(node, q, past_key, last, total)
    if node.get_int("do_rotary", 0):
        if cos is None or sin is None:
            raise UserError("GroupQueryAttention with do_rotary needs the tables of cosines and sines")
        q, k = (_turned(node, each, cos, sin, start) for each in (q, k))
    if start and past_key is not None and past_value is not None:
        k, v = (
            node.emit(relax.op.concat([_front(node, past, start), each], 2))
            for past, each in ((past_key, k), (past_value, v))
        )
    lengths = (shape_of(q)[2], shape_of(k)[2])
    window = node.get_int("local_window_size", -1)
    masks = [window_mask(node, lengths, start, window - 1 if window > 0 else -1, 0, q)]
    if not is_constant(last):
        ends = node.reshape(node.cast(last, "int64"), (shape_of(q)[0], 1, 1, 1))
        masks.append(
            additive(node, node.emit(relax.op.less_equal(node.const(np.arange(lengths[1]), "int64"), ends)), q)
        )
    scores = Scores(_scale(node, q), softcap=node.get_float("softcap", 0.0), masks=masks)
    return [joined_heads(node, attend(node, q, k, v, scores).output), k, v]


@operator("RotaryEmbedding", domain=DOMAIN)
def rotary_embedding(node: Node, data: Expr, positions: Expr, cos: Expr, sin: Expr) -> Expr:
    """Pairs of elements rotated by the angles of their positions, or of those from one position on."""
    if node.get_int("is_packed_batching", 0) or node.get_float("scale", 1.0) != 1.0:
        raise UserError("RotaryEmbedding with packed batches or a scale is not supported")
    flat, half = rank_of(data) == 3, shape_of(cos)[1]
    heads = node.get_int("num_heads", 0)
    if flat:
        data = split_heads(node, data, heads or shape_of(data)[2] // (2 * half))
    batch, _, length, size = shape_of(data)
    if rank_of(positions) == 1:
        steps = node.const(np.arange(length).reshape(1, length), positions)
        positions = node.emit(relax.op.add(node.reshape(positions, (1, 1)), steps))
    cos, sin = (node.emit(relax.op.take(each, positions, axis=0)) for each in (cos, sin))
    turned = node.get_int("rotary_embedding_dim", 0) or size
    out = rotated(node, data, cos, sin, turned, bool(node.get_int("interleaved", 0)))
    return joined_heads(node, out) if flat else out


def _scale(node: Node, q: Expr) -> float:
    return node.get_float("scale", 0.0) or 1.0 / float(np.sqrt(shape_of(q)[3]))


def _projections(
    node: Node, q: Expr, k: Expr | None, v: Expr | None, bias: Expr | None, heads: int
) -> tuple[Expr, Expr, Expr]:
    """Return queries, keys and values as [B, H, S, D], biased."""
    if k is None or v is None or rank_of(q) != 3:
        raise UserError("MultiHeadAttention with packed queries, keys and values is not supported: export for CPUs")
    parts = [q, k, v]
    if bias is not None:
        sizes = [shape_of(part)[2] if rank_of(part) == 3 else heads * shape_of(part)[3] for part in parts]
        biases = _cut(node, bias, sizes)
        parts = [_biased(node, part, each) for part, each in zip(parts, biases, strict=True)]
    made = [split_heads(node, part, heads) if rank_of(part) == 3 else part for part in parts]
    return made[0], made[1], made[2]


def _biased(node: Node, part: Expr, bias: Expr) -> Expr:
    """Return a projection plus its bias; keys and values that come as heads have theirs already."""
    return node.emit(relax.op.add(part, bias)) if rank_of(part) == 3 else part


def _cut(node: Node, data: Expr, sizes: Sequence[int]) -> list[Expr]:
    ends = [int(each) for each in np.cumsum(sizes)]
    axis = rank_of(data) - 1
    begins = [0, *ends[:-1]]
    return [
        node.emit(relax.op.strided_slice(data, [axis], [begin], [end])) for begin, end in zip(begins, ends, strict=True)
    ]


def _slab(node: Node, past: Expr, at: int) -> Expr:
    return node.reshape(node.emit(relax.op.strided_slice(past, [0], [at], [at + 1])), shape_of(past)[1:])


def _front(node: Node, past: Expr, length: int) -> Expr:
    if shape_of(past)[2] == length:
        return past
    return node.emit(relax.op.strided_slice(past, [2], [0], [length]))


def _turned(node: Node, data: Expr, cos: Expr, sin: Expr, start: int) -> Expr:
    length, half = shape_of(data)[2], shape_of(cos)[1]
    cos, sin = (node.emit(relax.op.strided_slice(each, [0], [start], [start + length])) for each in (cos, sin))
    return rotated(node, data, cos, sin, 2 * half, bool(node.get_int("rotary_interleaved", 0)))


def _past_length(node: Node, q: Expr, past: Expr | None, last: Expr, total: Expr) -> int:
    """Return how many keys precede the present ones. Raises UserError where that depends on the model's inputs."""
    if past is None or shape_of(past)[2] == 0:
        return 0
    what = "with a past, total_sequence_length and seqlens_k of GroupQueryAttention"
    start = int(node.array(total, what).reshape(-1)[0]) - shape_of(q)[2]
    if np.any(node.array(last, what) != start + shape_of(q)[2] - 1):
        raise UserError("GroupQueryAttention whose sequences have pasts of several lengths is not supported")
    return start


def _masks(node: Node, mask: Expr | None, scores_bias: Expr | None, q: Expr, k: Expr, past: int) -> list[Expr]:
    """Return what to add to the scores; what a mask hides gets ``mask_filter_value``."""
    masks = [] if scores_bias is None else [scores_bias]
    counts = (shape_of(q)[2], shape_of(k)[2])
    if mask is not None:
        masks.append(_key_mask(node, mask, q, counts[1]))
    if node.get_int("unidirectional", 0):
        causal = window_mask(node, counts, past, -1, 0, q)
        masks.append(causal)
    return masks


def _key_mask(node: Node, mask: Expr, q: Expr, keys: int) -> Expr:
    batch, shape = shape_of(q)[0], shape_of(mask)
    hidden = node.get_float("mask_filter_value", -10000.0)
    if len(shape) == 1 and shape[0] == batch:
        places = node.const(np.arange(keys).reshape(1, keys), mask)
        seen = node.emit(relax.op.less(places, node.reshape(mask, (batch, 1))))
        shape = (batch, keys)
    elif len(shape) in (2, 3) and shape[-1] == keys:
        seen = node.emit(relax.op.not_equal(mask, node.const(0, mask))) if dtype_of(mask) != "bool" else mask
    else:
        raise UserError(f"an attention mask of shape {list(shape)} is not supported: give one of [batch, {keys}]")
    wide = (shape[0], 1, 1, keys) if len(shape) == 2 else (shape[0], 1, *shape[1:])
    return additive(node, node.reshape(seen, wide), q, hidden)
