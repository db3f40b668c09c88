"""The activations that gates of a recurrence may have, as scalar steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .registry import Registry
from .workload import Attribute, PointwiseProgram, PointwiseStep, attributes


@dataclass(frozen=True)
class Activation:
    """An activation by its ONNX name, with the values of its parameters in order."""

    name: str
    parameters: tuple[float, ...] = ()

    def program(self, dtype: str) -> PointwiseProgram:
        """Return the activation as scalar steps on one value of this element type."""
        return PointwiseProgram(1, tuple(ACTIVATIONS[self.name].steps(_Steps(dtype), *self.parameters)))

    def written(self) -> str:
        """Return the activation as text: its name, then its parameters, between spaces."""
        return " ".join([self.name, *map(repr, self.parameters)])

    @staticmethod
    def read(text: str) -> Activation:
        """Return the activation that ``written`` wrote."""
        name, *parameters = text.split()
        return Activation(name, tuple(map(float, parameters)))


class _Steps(list[PointwiseStep]):
    """Steps of a program on one value, number 0."""

    def __init__(self, dtype: str) -> None:
        super().__init__()
        self.dtype = dtype

    def do(self, op: str, *args: int, dtype: str = "", **attrs: Attribute) -> int:
        """Append a step; return the number of its value."""
        self.append(PointwiseStep(op, args, dtype or self.dtype, attributes(attrs)))
        return len(self)

    def const(self, value: float) -> int:
        """Append a constant; return the number of its value."""
        return self.do("const", value=value)


@dataclass(frozen=True)
class ActivationRow:
    """An activation that recurrences may have: the default of each parameter, and its steps on value 0."""

    defaults: tuple[float, ...]
    steps: Callable[..., _Steps]


ACTIVATIONS: Registry[ActivationRow] = Registry("activation of a recurrence")


def _activation(name: str, *defaults: float) -> Callable[[Callable[..., int]], Callable[..., int]]:
    def decorate(write: Callable[..., int]) -> Callable[..., int]:
        def steps(program: _Steps, *parameters: float) -> _Steps:
            write(program, *parameters)
            return program

        ACTIVATIONS.add(name, ActivationRow(defaults, steps))
        return write

    return decorate


@_activation("Sigmoid")
def _sigmoid(p: _Steps) -> int:
    return p.do("sigmoid", 0)


@_activation("Tanh")
def _tanh(p: _Steps) -> int:
    return p.do("tanh", 0)


@_activation("Relu")
def _relu(p: _Steps) -> int:
    return p.do("nn.relu", 0)


@_activation("LeakyRelu", 0.01)
def _leaky_relu(p: _Steps, alpha: float) -> int:
    return p.do("nn.leakyrelu", 0, alpha=alpha)


@_activation("Affine", 1.0, 0.0)
def _affine(p: _Steps, alpha: float, beta: float) -> int:
    return p.do("add", p.do("multiply", 0, p.const(alpha)), p.const(beta))


@_activation("HardSigmoid", 0.2, 0.5)
def _hard_sigmoid(p: _Steps, alpha: float, beta: float) -> int:
    return p.do("clip", _affine(p, alpha, beta), min=0.0, max=1.0)


@_activation("ScaledTanh", 1.0, 1.0)
def _scaled_tanh(p: _Steps, alpha: float, beta: float) -> int:
    return p.do("multiply", p.do("tanh", p.do("multiply", 0, p.const(beta))), p.const(alpha))


@_activation("ThresholdedRelu", 1.0)
def _thresholded_relu(p: _Steps, alpha: float) -> int:
    above = p.do("greater_equal", 0, p.const(alpha), dtype="bool")
    return p.do("where", above, 0, p.const(0.0))


@_activation("Elu", 1.0)
def _elu(p: _Steps, alpha: float) -> int:
    # The argument is held below zero so that the side not taken does not overflow.
    grown = p.do("exp", p.do("minimum", 0, p.const(0.0)))
    below = p.do("multiply", p.do("add", grown, p.const(-1.0)), p.const(alpha))
    return p.do("add", p.do("nn.relu", 0), below)


@_activation("Softsign")
def _softsign(p: _Steps) -> int:
    return p.do("divide", 0, p.do("add", p.do("abs", 0), p.const(1.0)))


@_activation("Softplus")
def _softplus(p: _Steps) -> int:
    fading = p.do("exp", p.do("negative", p.do("abs", 0)))
    return p.do("add", p.do("nn.relu", 0), p.do("log", p.do("add", fading, p.const(1.0))))
