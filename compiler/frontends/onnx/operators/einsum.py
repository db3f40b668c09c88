"""Einstein summation, as sums, transposes and matrix products."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....errors import UserError
from .....tvm_names import shape_of
from ..node import Node, constant, rank_of
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr

Labels = tuple[str, ...]


@dataclass(frozen=True)
class _Term:
    """A tensor whose axes are labelled, each label once."""

    tensor: Expr
    labels: Labels

    def size(self, label: str) -> int:
        """Return the size of a label's axis, 1 where the term does not have it."""
        return int(shape_of(self.tensor)[self.labels.index(label)]) if label in self.labels else 1


@operator("Einsum", since=12)
def einsum(node: Node, *operands: Expr) -> Expr:
    """Einstein summation in numpy.einsum's words: ellipses, repeated labels and implicit results too.

    Operands are joined from left to right, each time by one batched matrix product.
    """
    inputs, output = _parsed(node.get_string("equation", ""), [rank_of(each) for each in operands])
    terms = [_diagonal(node, tensor, labels) for tensor, labels in zip(operands, inputs, strict=True)]
    sizes = {label: max(term.size(label) for term in terms) for term in terms for label in term.labels}
    terms = [_without_broadcast(node, term, sizes) for term in terms]
    total = terms[0]
    for index, term in enumerate(terms[1:], start=1):
        wanted = {*output, *(label for later in terms[index + 1 :] for label in later.labels)}
        total = _joined(node, total, term, wanted)
    total = _summed(node, total, set(output))
    missing = [label for label in output if label not in total.labels]
    spread = node.reshape(total.tensor, shape_of(total.tensor) + (1,) * len(missing))
    labels = [*total.labels, *missing]
    moved = node.transpose(spread, [labels.index(label) for label in output])
    shape = tuple(sizes[label] for label in output)
    return moved if shape_of(moved) == shape else relax.op.broadcast_to(moved, shape)


def _parsed(equation: str, ranks: Sequence[int]) -> tuple[list[Labels], Labels]:
    """Return the labels of the operands' axes and of the result's; those of an ellipsis are numbers from the back."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    words = left.split(",")
    if len(words) != len(ranks):
        raise UserError(f"the equation '{equation}' has {len(words)} operands, the node {len(ranks)}")
    inputs = [_labels(word, rank, equation) for word, rank in zip(words, ranks, strict=True)]
    every = [label for labels in inputs for label in labels]
    dots = sorted({label for label in every if not label.isalpha()}, key=int)
    if arrow:
        output = _expanded(right, dots)
    else:
        output = (*dots, *sorted({label for label in every if label.isalpha() and every.count(label) == 1}))
    if not set(output) <= set(every) or len(set(output)) != len(output):
        raise UserError(f"the result of the equation '{equation}' does not follow from its operands")
    return inputs, output


def _labels(word: str, rank: int, equation: str) -> Labels:
    named = len(word.replace("...", ""))
    labels = _expanded(word, [str(at) for at in range(named - rank, 0)])
    if len(labels) != rank or not all(label.isalpha() or label.startswith("-") for label in labels):
        raise UserError(f"the equation '{equation}' does not fit an operand of {rank} dimensions")
    return labels


def _expanded(word: str, dots: Iterable[str]) -> Labels:
    before, ellipsis, after = word.partition("...")
    return (*before, *(dots if ellipsis else ()), *after)


def _diagonal(node: Node, tensor: Expr, labels: Labels) -> _Term:
    """Return a term whose labels stand once: of axes with one label only the diagonal is kept."""
    once = tuple(dict.fromkeys(labels))
    if len(once) == len(labels):
        return _Term(tensor, labels)
    shape = shape_of(tensor)
    sizes = dict(zip(labels, shape, strict=True))
    strides = [math.prod(shape[at + 1 :]) for at in range(len(shape))]
    places = np.zeros((1,) * len(once), np.int64)
    for at, label in enumerate(once):
        step = sum(stride for stride, each in zip(strides, labels, strict=True) if each == label)
        places = places + (np.arange(sizes[label]) * step).reshape((-1,) + (1,) * (len(once) - at - 1))
    flat = node.reshape(tensor, (math.prod(shape),))
    taken = node.emit(relax.op.take(flat, constant(places.reshape(-1)), 0, mode="fast"))
    return _Term(node.reshape(taken, places.shape), once)


def _without_broadcast(node: Node, term: _Term, sizes: dict[str, int]) -> _Term:
    """Return a term without the axes of size 1 that other terms' axes stretch."""
    kept = tuple(label for label in term.labels if term.size(label) == sizes[label])
    return _Term(node.reshape(term.tensor, [term.size(label) for label in kept]), kept)


def _summed(node: Node, term: _Term, wanted: set[str]) -> _Term:
    axes = [at for at, label in enumerate(term.labels) if label not in wanted]
    if not axes:
        return term
    kept = tuple(label for label in term.labels if label in wanted)
    return _Term(node.emit(relax.op.sum(term.tensor, axes)), kept)


def _joined(node: Node, a: _Term, b: _Term, wanted: set[str]) -> _Term:
    """Return the product of two terms, summed over the labels that nothing else wants."""
    a, b = _summed(node, a, wanted | set(b.labels)), _summed(node, b, wanted | set(a.labels))
    shared = [label for label in a.labels if label in b.labels]
    batch = tuple(label for label in shared if label in wanted)
    inner = tuple(label for label in shared if label not in wanted)
    rows = tuple(label for label in a.labels if label not in shared)
    columns = tuple(label for label in b.labels if label not in shared)
    left = _matrices(node, a, batch, rows, inner)
    right = _matrices(node, b, batch, inner, columns)
    product = node.emit(relax.op.matmul(left, right)) if inner else node.emit(relax.op.multiply(left, right))
    labels = (*batch, *rows, *columns)
    sizes = [a.size(label) if label in a.labels else b.size(label) for label in labels]
    return _Term(node.reshape(product, sizes), labels)


def _matrices(node: Node, term: _Term, batch: Labels, rows: Labels, columns: Labels) -> Expr:
    order = [term.labels.index(label) for label in (*batch, *rows, *columns)]
    moved = node.transpose(term.tensor, order)
    sizes = [math.prod(term.size(label) for label in labels) for labels in (rows, columns)]
    return node.reshape(moved, (*(term.size(label) for label in batch), *sizes))
