"""Random numbers: drawn once, when the model is compiled, from the seed that the model states.

ONNX leaves the generator open. Here it is that of ONNX's reference evaluator (numpy's Mersenne Twister), and every run
of a library gives the numbers of the first. A model that states no seed asks for other numbers at every run, which a
library without state cannot give; it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from onnx.helper import tensor_dtype_to_np_dtype
from tvm import relax

from .....errors import UserError
from .....tvm_names import dtype_of, shape_of
from ..node import Node, constant
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr

#: A library holds at most this many random numbers for a node.
_MOST = 2**24


@operator("RandomUniform")
def random_uniform(node: Node) -> Expr:
    """Numbers between ``low`` and ``high``, of a shape that an attribute states."""
    return _uniform(node, node.get_ints("shape", ()), "float32")


@operator("RandomUniformLike")
def random_uniform_like(node: Node, data: Expr) -> Expr:
    """Numbers between ``low`` and ``high``, of another tensor's shape."""
    return _uniform(node, shape_of(data), dtype_of(data))


@operator("RandomNormal")
def random_normal(node: Node) -> Expr:
    """Normally distributed numbers, of a shape that an attribute states."""
    return _normal(node, node.get_ints("shape", ()), "float32")


@operator("RandomNormalLike")
def random_normal_like(node: Node, data: Expr) -> Expr:
    """Normally distributed numbers, of another tensor's shape."""
    return _normal(node, shape_of(data), dtype_of(data))


@operator("Bernoulli")
def bernoulli(node: Node, probability: Expr) -> Expr:
    """One with the probability that each element names, else zero."""
    draws = generator(node).rand(*_checked(shape_of(probability)))
    drawn = node.emit(relax.op.less(constant(draws.astype(dtype_of(probability))), probability))
    return node.cast(drawn, _dtype(node, dtype_of(probability)))


@operator("Multinomial")
def multinomial(node: Node, logits: Expr) -> Expr:
    """Samples of classes [N, sample_size], int32 or int64, with the probabilities softmax(logits [N, classes]).

    The Gumbel-max method: the class whose logarithm with noise is the largest.
    """
    batch, classes = shape_of(logits)
    count = node.get_int("sample_size", 1)
    noise = generator(node).gumbel(size=_checked((batch, count, classes)))
    spread = node.reshape(logits, (batch, 1, classes))
    noisy = node.emit(relax.op.add(spread, constant(noise.astype(dtype_of(logits)))))
    chosen = node.emit(relax.op.argmax(noisy, 2, keepdims=False))
    return node.cast(chosen, _dtype(node, "int32"))


@operator("Dropout")
def dropout(node: Node, data: Expr, ratio: Expr | None = None, training: Expr | None = None) -> Expr | tuple[Expr, ...]:
    """The identity at inference, with a mask that keeps everything; in training mode a mask drawn from the seed."""
    trains = training is not None and bool(node.array(training, "training_mode"))
    rate = 0.5 if ratio is None else float(node.array(ratio, "the ratio of Dropout")) if trains else 0.0
    if not trains or rate == 0.0:
        return (data, constant(np.ones(shape_of(data), np.bool_))) if node.wants(1) else data
    if not 0 <= rate < 1:
        raise UserError(f"its ratio {rate} is not between 0 and 1")
    kept = generator(node).uniform(0, 1.0, _checked(shape_of(data))) >= rate
    return relax.op.multiply(data, node.const(kept / (1.0 - rate), data)), constant(kept)


def generator(node: Node) -> RandomState:
    """Return the generator that a node's seed starts. Raises UserError where it states none."""
    if not node.has("seed"):
        raise UserError(
            f"{node.op_type} without a seed is not supported, because a library gives the same results at every run: "
            "set its attribute 'seed', or make the random numbers an input of the model"
        )
    whole = float(node.get_float("seed", 0.0))
    return RandomState(int(whole) % 2**32)


def _uniform(node: Node, shape: tuple[int, ...], dtype: str) -> Expr:
    low, high = node.get_float("low", 0.0), node.get_float("high", 1.0)
    draws = generator(node).rand(*_checked(shape)).astype(_dtype(node, dtype))
    return _scaled(draws, high - low, low)


def _normal(node: Node, shape: tuple[int, ...], dtype: str) -> Expr:
    draws = generator(node).randn(*_checked(shape)).astype(_dtype(node, dtype))
    return _scaled(draws, node.get_float("scale", 1.0), node.get_float("mean", 0.0))


def _scaled(draws: NDArray[Any], scale: float, offset: float) -> Expr:
    kind = draws.dtype.type
    return constant(np.asarray(draws * kind(scale) + kind(offset)).astype(draws.dtype))


def _dtype(node: Node, default: str) -> str:
    stated = node.get_int("dtype", 0)
    return np.dtype(tensor_dtype_to_np_dtype(stated)).name if stated else default


def _checked(shape: tuple[int, ...]) -> tuple[int, ...]:
    if int(np.prod(shape)) > _MOST:
        raise UserError(f"{int(np.prod(shape))} random numbers are too many: a library holds at most {_MOST} of a node")
    return shape
