"""Attention of ai.onnx, and the rotation of its queries and keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from onnx.helper import tensor_dtype_to_np_dtype
from tvm import relax

from .....errors import UserError
from .....tvm_names import dtype_of, shape_of
from ..attention import Scores, additive, attend, joined_heads, split_heads, window_mask
from ..node import Node, rank_of
from ..registry import operator
from ..rotary import rotated

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("Attention", since=23)
def attention(
    node: Node,
    q: Expr,
    k: Expr,
    v: Expr,
    mask: Expr | None = None,
    past_key: Expr | None = None,
    past_value: Expr | None = None,
    lengths: Expr | None = None,
) -> Sequence[Expr]:
    """Attention over past and present keys; further outputs are all keys, all values, and the scores of some stage.

    Queries, keys and values are [B, H, S, D], or [B, S, H * D] with the numbers of heads as attributes. ``lengths``
    (opset 24) says for each sequence how many keys are not padding, and windows are since opset 25.
    """
    flat = rank_of(q) == 3
    if flat:
        groups = node.get_int("kv_num_heads", 0)
        q = split_heads(node, q, node.get_int("q_num_heads", 0))
        k, v = split_heads(node, k, groups), split_heads(node, v, groups)
    past = 0
    if past_key is not None and past_value is not None:
        past = shape_of(past_key)[2]
        k, v = _appended(node, past_key, k), _appended(node, past_value, v)
    precision = node.get_int("softmax_precision", 0)
    scores = Scores(
        scale=node.get_float("scale", 1.0 / np.sqrt(shape_of(q)[3])),
        split_scale=True,
        softcap=node.get_float("softcap", 0.0),
        masks=_masks(node, q, k, mask, lengths, past),
        precision=np.dtype(tensor_dtype_to_np_dtype(precision)).name if precision else "",
        guarded=True,
    )
    made = attend(node, q, k, v, scores)
    stages = (made.raw, made.capped, made.masked, made.probabilities)
    output = joined_heads(node, made.output) if flat else made.output
    return output, k, v, stages[node.get_int("qk_matmul_output_mode", 0)]


@operator("RotaryEmbedding", since=23)
def rotary_embedding(node: Node, data: Expr, cos: Expr, sin: Expr, positions: Expr | None = None) -> Expr:
    """Pairs of elements rotated by angles that grow with the position; [B, H, S, D] or [B, S, H * D]."""
    flat = rank_of(data) == 3
    heads = split_heads(node, data, node.get_int("num_heads", 0)) if flat else data
    size = node.get_int("rotary_embedding_dim", 0) or shape_of(heads)[3]
    if positions is not None:
        cos, sin = (node.emit(relax.op.take(each, positions, axis=0)) for each in (cos, sin))
    out = rotated(node, heads, cos, sin, size, bool(node.get_int("interleaved", 0)))
    return joined_heads(node, out) if flat else out


def _appended(node: Node, past: Expr, present: Expr) -> Expr:
    return node.emit(relax.op.concat([past, present], 2)) if shape_of(past)[2] else present


def _masks(node: Node, q: Expr, k: Expr, mask: Expr | None, lengths: Expr | None, past: int) -> list[Expr]:
    """Return what to add to the scores: the mask given, the causal one, a window, padding."""
    count, keys = shape_of(q)[2], shape_of(k)[2]
    masks = [] if mask is None else [_given(node, mask, q, keys)]
    offset: Expr | int = past
    if lengths is not None:
        lengths = node.reshape(node.cast(lengths, "int64"), (shape_of(q)[0],))
        offset = node.emit(relax.op.subtract(lengths, node.const(count, lengths)))
    if node.get_int("is_causal", 0):
        masks.append(window_mask(node, (count, keys), offset, -1, 0, q))
    left, right = node.get_int("left_window_size", -1), node.get_int("right_window_size", -1)
    if left >= 0 or right >= 0:
        masks.append(window_mask(node, (count, keys), offset, left, right, q))
    if lengths is not None:
        valid = node.emit(
            relax.op.less(node.const(np.arange(keys), "int64"), node.reshape(lengths, (shape_of(q)[0], 1, 1, 1)))
        )
        masks.append(additive(node, valid, q))
    return masks


def _given(node: Node, mask: Expr, q: Expr, keys: int) -> Expr:
    """Return the caller's mask as one to add, for all keys: those beyond it are not seen."""
    if dtype_of(mask) == "bool":
        mask = additive(node, mask, q)
    missing = keys - shape_of(mask)[-1]
    if missing < 0:
        raise UserError(f"an attention mask for {shape_of(mask)[-1]} keys does not fit {keys} keys")
    if missing == 0 or shape_of(mask)[-1] == 1:
        return mask
    hidden = node.const(np.full((*shape_of(mask)[:-1], missing), -np.inf), mask)
    return node.emit(relax.op.concat([mask, hidden], -1))
