"""Steps of optimizers (the domain ai.onnx.preview.training): elementwise arithmetic on parameters and their state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tvm import relax

from ..node import Node
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr

_DOMAIN = "ai.onnx.preview.training"


class _Arithmetic:
    """Emits arithmetic on tensors and numbers."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def add(self, a: Expr, b: Expr | float) -> Expr:
        return self.node.emit(relax.op.add(a, self._like(b, a)))

    def sub(self, a: Expr, b: Expr | float) -> Expr:
        return self.node.emit(relax.op.subtract(a, self._like(b, a)))

    def mul(self, a: Expr, b: Expr | float) -> Expr:
        return self.node.emit(relax.op.multiply(a, self._like(b, a)))

    def div(self, a: Expr, b: Expr) -> Expr:
        return self.node.emit(relax.op.divide(a, b))

    def root(self, a: Expr) -> Expr:
        return self.node.emit(relax.op.sqrt(a))

    def regularized(self, gradient: Expr, parameter: Expr) -> Expr:
        """Return the gradient of the loss and of the parameters' norm."""
        return self.add(self.mul(parameter, self.node.get_float("norm_coefficient", 0.0)), gradient)

    def first(self, count: Expr, then: Expr, otherwise: Expr) -> Expr:
        """Return ``then`` on the first step, else ``otherwise``."""
        later = self.node.emit(relax.op.greater(count, self.node.const(0, count)))
        return self.node.emit(relax.op.where(later, otherwise, then))

    def _like(self, value: Expr | float, other: Expr) -> Expr:
        return self.node.const(value, other) if isinstance(value, int | float) else value


@operator("Adagrad", domain=_DOMAIN)
def adagrad(node: Node, rate: Expr, count: Expr, *tensors: Expr) -> list[Expr]:
    """Duchi et al. 2011: new parameters, then new accumulated squares."""
    do = _Arithmetic(node)
    decayed = do.add(do.mul(node.cast(count, _dtype(rate)), node.get_float("decay_factor", 0.0)), 1.0)
    rate = do.div(rate, decayed)
    results = []
    for parameter, gradient, squares in _groups(tensors, 3):
        gradient = do.regularized(gradient, parameter)
        squares = do.add(squares, do.mul(gradient, gradient))
        divisor = do.add(do.root(squares), node.get_float("epsilon", 1e-6))
        results.append((do.sub(parameter, do.div(do.mul(gradient, rate), divisor)), squares))
    return _by_kind(results)


@operator("Adam", domain=_DOMAIN)
def adam(node: Node, rate: Expr, count: Expr, *tensors: Expr) -> list[Expr]:
    """Kingma and Ba 2015: new parameters, new means, new mean squares."""
    do = _Arithmetic(node)
    alpha, beta = node.get_float("alpha", 0.9), node.get_float("beta", 0.999)
    steps = node.cast(count, _dtype(rate))
    shrunk = [do.sub(node.emit(relax.op.power(node.const(each, rate), steps)), 1.0) for each in (alpha, beta)]
    corrected = do.div(do.mul(rate, do.root(do.mul(shrunk[1], -1.0))), do.mul(shrunk[0], -1.0))
    rate = do.first(count, rate, corrected)
    results = []
    for parameter, gradient, mean, squares in _groups(tensors, 4):
        gradient = do.regularized(gradient, parameter)
        mean = do.add(do.mul(mean, alpha), do.mul(gradient, 1 - alpha))
        squares = do.add(do.mul(squares, beta), do.mul(do.mul(gradient, gradient), 1 - beta))
        divisor = do.add(do.root(squares), node.get_float("epsilon", 1e-6))
        moved = do.sub(parameter, do.mul(do.div(mean, divisor), rate))
        results.append((do.mul(moved, 1 - node.get_float("norm_coefficient_post", 0.0)), mean, squares))
    return _by_kind(results)


@operator("Momentum", domain=_DOMAIN)
def momentum(node: Node, rate: Expr, count: Expr, *tensors: Expr) -> list[Expr]:
    """Gradient descent with momentum, ``mode`` "standard" or "nesterov": new parameters, then new momenta."""
    do = _Arithmetic(node)
    alpha = node.get_float("alpha", 0.0)
    weight = do.first(count, node.const(1.0, rate), node.const(node.get_float("beta", 0.0), rate))
    results = []
    for parameter, gradient, speed in _groups(tensors, 3):
        gradient = do.regularized(gradient, parameter)
        speed = do.add(do.mul(speed, alpha), do.mul(gradient, weight))
        nesterov = node.get_string("mode", "standard") == "nesterov"
        step = do.add(do.mul(speed, alpha), gradient) if nesterov else speed
        results.append((do.sub(parameter, do.mul(step, rate)), speed))
    return _by_kind(results)


def _dtype(expr: Expr) -> str:
    return str(expr.ty.dtype)


def _groups(tensors: Sequence[Expr], kinds: int) -> list[tuple[Expr, ...]]:
    """Return the operands of each parameter: all parameters come first, then all gradients, and so on."""
    count = len(tensors) // kinds
    return list(zip(*(tensors[kind * count : (kind + 1) * count] for kind in range(kinds)), strict=True))


def _by_kind(results: Sequence[tuple[Expr, ...]]) -> list[Expr]:
    return [each for kind in zip(*results, strict=True) for each in kind]
