"""What becomes of the sums of trees: the functions that objectives apply to their predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax

Emit = Callable[[Any], Any]
#: From the sums [N, K] to the predictions.
Link = Callable[[Emit, Any], Any]


def identity(emit: Emit, sums: Any) -> Any:
    """Return the sums."""
    return sums


def sigmoid(emit: Emit, sums: Any) -> Any:
    """Return 1 / (1 + e^-x)."""
    return emit(relax.op.sigmoid(sums))


def exponential(emit: Emit, sums: Any) -> Any:
    """Return e^x."""
    return emit(relax.op.exp(sums))


def softmax(emit: Emit, sums: Any) -> Any:
    """Return probabilities of classes."""
    return emit(relax.op.nn.softmax(sums, axis=-1))


def argmax(emit: Emit, sums: Any) -> Any:
    """Return the number of the likeliest class [N, 1], a float as the sums are."""
    return emit(relax.op.astype(emit(relax.op.argmax(sums, axis=1, keepdims=True)), "float32"))


def step(emit: Emit, sums: Any) -> Any:
    """Return 1 above zero, else 0."""
    return emit(relax.op.astype(emit(relax.op.greater(sums, relax.const(0.0, "float32"))), "float32"))


def signed_square(emit: Emit, sums: Any) -> Any:
    """Return x |x|."""
    return emit(relax.op.multiply(sums, emit(relax.op.abs(sums))))


def softplus(emit: Emit, sums: Any) -> Any:
    """Return log(1 + e^x)."""
    return emit(relax.op.nn.softplus(sums))


def scaled(factor: float, link: Link) -> Link:
    """Return a function of the sums times a factor."""
    if factor == 1.0:
        return link
    return lambda emit, sums: link(emit, emit(relax.op.multiply(sums, relax.const(factor, "float32"))))
