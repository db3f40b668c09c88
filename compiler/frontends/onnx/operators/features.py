"""Feature extraction from integers."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....errors import UserError
from .....tvm_names import dtype_of, shape_of
from ..node import Node, constant
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("TfIdfVectorizer")
def tf_idf_vectorizer(node: Node, data: Expr) -> Expr:
    """How often each n-gram of a pool of integers stands in data [C] or [N, C], weighted as ``mode`` says.

    An n-gram's elements may stand up to ``max_skip_count`` elements apart, all at the same distance. Pools of strings
    are refused.
    """
    pool = node.get_ints("pool_int64s", ())
    if not pool or not dtype_of(data).startswith("int"):
        raise UserError("only pools of integers are supported: look strings up before the model, and give it integers")
    *batch, size = shape_of(data) or (1,)
    rows = node.cast(node.reshape(data, (*(batch or [1]), size)), "int64")
    places = node.get_ints("ngram_indexes", ())
    counts = node.const(np.zeros((shape_of(rows)[0], max(places) + 1)), "float32")
    first = 0
    bounds = (*node.get_ints("ngram_counts", ()), len(pool))
    for length, (start, end) in enumerate(pairwise(bounds), start=1):
        grams = np.array(pool[start:end], np.int64).reshape(-1, length)
        which = places[first : first + len(grams)]
        first += len(grams)
        if len(grams) and node.get_int("min_gram_length", 1) <= length <= node.get_int("max_gram_length", 1):
            found = _occurrences(node, rows, grams, 0 if length == 1 else node.get_int("max_skip_count", 0))
            counts = _added(node, counts, found, which)
    return node.reshape(_weighted(node, counts), (*batch, max(places) + 1))


def _occurrences(node: Node, rows: Expr, grams: np.ndarray[tuple[int, int], np.dtype[np.int64]], skips: int) -> Expr:
    """Return how often each n-gram stands in each row, float32 [N, grams]."""
    batch, size = shape_of(rows)
    count, length = grams.shape
    windows = [
        start + np.arange(length) * step for step in range(1, skips + 2) for start in range(size - (length - 1) * step)
    ]
    if not windows:
        return constant(np.zeros((batch, count), np.float32))
    taken = node.emit(relax.op.take(rows, constant(np.concatenate(windows)), 1, mode="fast"))
    same = node.emit(relax.op.equal(node.reshape(taken, (batch, len(windows), 1, length)), constant(grams)))
    whole = node.emit(relax.op.min(node.cast(same, "float32"), 3))
    return node.emit(relax.op.sum(whole, 1))


def _added(node: Node, counts: Expr, found: Expr, places: tuple[int, ...]) -> Expr:
    """Return counts with those of n-grams added at the n-grams' places."""
    chosen = np.zeros((len(places), shape_of(counts)[1]), np.float32)
    chosen[np.arange(len(places)), places] = 1
    return node.emit(relax.op.add(counts, node.emit(relax.op.matmul(found, constant(chosen)))))


def _weighted(node: Node, counts: Expr) -> Expr:
    mode = node.get_string("mode", "TF")
    if mode == "IDF":
        counts = node.cast(node.emit(relax.op.greater(counts, node.const(0, counts))), "float32")
    if mode == "TF" or not node.has("weights"):
        return counts
    weights = np.zeros(shape_of(counts)[1], np.float32)
    weights[list(node.get_ints("ngram_indexes", ()))] = node.get_floats("weights", ())
    return node.emit(relax.op.multiply(counts, constant(weights)))
