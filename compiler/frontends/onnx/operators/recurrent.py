"""Recurrent layers: the input projection as one matrix product, the recurrence as one operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import relax

from .....errors import UserError
from .....passes.recurrent import recurrent
from .....recurrent import BACKWARDS, KINDS, OPTIONAL_OPERANDS, Recurrence
from .....recurrent_activations import ACTIVATIONS, Activation
from .....registry import nearest
from .....tvm_names import constant_value, is_constant, shape_of
from ..node import Node, constant
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr

Operand = Any  # an Expr, None where it is left out


@operator("LSTM")
def lstm(
    node: Node,
    data: Expr,
    weights: Expr,
    recurrence: Expr,
    bias: Operand = None,
    lengths: Operand = None,
    initial_h: Operand = None,
    initial_c: Operand = None,
    peephole: Operand = None,
) -> list[Expr]:
    """Long short-term memory; gates i, o, f, c and peepholes i, o, f."""
    layer = _Layer(node, "lstm", data, weights, recurrence)
    if peephole is not None:
        peephole = node.reshape(peephole, (layer.directions, 3, layer.units))
    return layer.convert(bias, lengths, {"initial_h": initial_h, "initial_c": initial_c}, peephole)


@operator("GRU")
def gru(
    node: Node,
    data: Expr,
    weights: Expr,
    recurrence: Expr,
    bias: Operand = None,
    lengths: Operand = None,
    initial_h: Operand = None,
) -> list[Expr]:
    """Gated recurrent unit; gates z, r, h."""
    return _Layer(node, "gru", data, weights, recurrence).convert(bias, lengths, {"initial_h": initial_h})


@operator("RNN")
def rnn(
    node: Node,
    data: Expr,
    weights: Expr,
    recurrence: Expr,
    bias: Operand = None,
    lengths: Operand = None,
    initial_h: Operand = None,
) -> list[Expr]:
    """Plain recurrent layer."""
    return _Layer(node, "rnn", data, weights, recurrence).convert(bias, lengths, {"initial_h": initial_h})


class _Layer:
    """One recurrent layer.

    Args:
        data: the inputs [S, B, I], or [B, S, I] with ``layout=1``.
        weights: the input weights [D, G*H, I].
        recurrence: the recurrent weights [D, G*H, H].
    """

    def __init__(self, node: Node, kind: str, data: Expr, weights: Expr, recurrence: Expr) -> None:
        self.node, self.kind = node, kind
        self.data, self.weights, self.recurrence = data, weights, recurrence
        self.batch_first = bool(node.get_int("layout", 0))
        direction = node.get_string("direction", "forward").lower()
        if direction not in BACKWARDS:
            raise UserError(f"direction '{direction}' does not exist{nearest(direction, list(BACKWARDS))}")
        self.direction = direction
        self.directions = len(BACKWARDS[direction])
        self.gates = KINDS[kind].gates
        self.units = shape_of(recurrence)[-1]
        rows = self.gates * self.units
        for name, operand, columns in (("W", weights, shape_of(data)[-1]), ("R", recurrence, self.units)):
            if shape_of(operand) != (self.directions, rows, columns):
                wanted = [self.directions, rows, columns]
                raise UserError(f"its weights {name} have the shape {list(shape_of(operand))}, not {wanted}")

    def convert(
        self, bias: Operand, lengths: Operand, initial: dict[str, Operand], peephole: Operand = None
    ) -> list[Expr]:
        """Return the layer's results: all states, the last state, the last cell."""
        resets = bool(self.node.get_int("linear_before_reset", 0)) and self.kind == "gru"
        input_bias, recurrent_bias = self._biases(bias, resets)
        optional = {name: self._state(each) for name, each in initial.items() if not _is_zero(each)}
        optional |= {} if recurrent_bias is None else {"bias": recurrent_bias}
        optional |= {} if _is_zero(peephole) else {"peephole": peephole}
        gates = self._gates(input_bias)
        optional |= {} if self._is_whole(lengths, shape_of(gates)[0]) else {"lengths": lengths}
        optional = {name: optional[name] for name in OPTIONAL_OPERANDS if name in optional}
        described = Recurrence(
            self.kind,
            self.direction,
            self._activations(),
            tuple(optional),
            self.node.get_float("clip", 0.0),
            bool(self.node.get_int("input_forget", 0)) and self.kind == "lstm",
            resets,
        )
        recurrence = self.node.reshape(self.recurrence, (self.directions, self.gates, self.units, self.units))
        results = self.node.emit(recurrent(described, gates, recurrence, optional))
        states, *last = [self.node.emit(relax.TupleGetItem(results, at)) for at in range(len(results.ty.fields))]
        if self.batch_first:
            return [self.node.transpose(states, (1, 0, 2, 3)), *(self.node.transpose(each, (1, 0, 2)) for each in last)]
        return [self.node.transpose(states, (0, 2, 1, 3)), *last]

    def _gates(self, bias: Operand) -> Expr:
        """Return the projected inputs of all steps [S, B, D, G, H]."""
        node, units = self.node, self.directions * self.gates * self.units
        data = node.transpose(self.data, (1, 0, 2)) if self.batch_first else self.data
        steps, batch, inputs = shape_of(data)
        matrix = node.transpose(node.reshape(self.weights, (units, inputs)), (1, 0))
        projected = node.emit(relax.op.matmul(data, matrix))
        if bias is not None:
            projected = node.emit(relax.op.add(projected, node.reshape(bias, (units,))))
        return node.reshape(projected, (steps, batch, self.directions, self.gates, self.units))

    def _biases(self, bias: Operand, resets: bool) -> tuple[Operand, Operand]:
        """Return the bias [D, G, H] that the inputs take and the one [D, H] that the recurrence has to add, if any."""
        if _is_zero(bias):
            return None, None
        node, shape = self.node, (self.directions, 2, self.gates, self.units)
        parts = node.reshape(bias, shape)
        own, other = (node.reshape(self._cut(parts, (1, at)), (shape[0], *shape[2:])) for at in (0, 1))
        if not resets:
            return self._combined("add", own, other), None
        # The reset gate multiplies the candidate's recurrent bias, so that one stays with the recurrence.
        early = node.const(np.array([1, 1, 0]).reshape(1, 3, 1), own)
        late = node.reshape(self._cut(other, (1, 2)), (self.directions, self.units))
        return self._combined("add", own, self._combined("multiply", other, early)), late

    def _cut(self, value: Expr, index: tuple[int, int]) -> Expr:
        """Return a tensor's part at (axis, place), the axis kept."""
        axis, at = index
        if is_constant(value):
            return constant(constant_value(value).take([at], axis))
        return self.node.emit(relax.op.strided_slice(value, [axis], [at], [at + 1]))

    def _combined(self, operator_name: str, a: Expr, b: Expr) -> Expr:
        if is_constant(a) and is_constant(b):
            return constant(getattr(np, operator_name)(constant_value(a), constant_value(b)))
        return self.node.emit(getattr(relax.op, operator_name)(a, b))

    def _state(self, state: Expr) -> Expr:
        """Return an initial state as [D, B, H]."""
        return self.node.transpose(state, (1, 0, 2)) if self.batch_first else state

    def _is_whole(self, lengths: Operand, steps: int) -> bool:
        """Return whether every sequence is known to have all the steps."""
        return lengths is None or bool(is_constant(lengths) and constant_value(lengths).astype(int).min() >= steps)

    def _activations(self) -> tuple[tuple[Activation, ...], ...]:
        defaults = KINDS[self.kind].activations
        names = list(self.node.get_strings("activations")) or [*defaults] * self.directions
        if len(names) != len(defaults) * self.directions:
            raise UserError(f"it has {len(names)} activations where {len(defaults) * self.directions} are needed")
        given = [list(self.node.get_floats(f"activation_{each}", ())) for each in ("alpha", "beta")]
        found = [_activation(name, given) for name in names]
        return tuple(tuple(found[at : at + len(defaults)]) for at in range(0, len(found), len(defaults)))


def _activation(name: str, given: list[list[float]]) -> Activation:
    """Return an activation; takes its parameters from the lists of alphas and betas, defaults once these are empty."""
    known = {each.lower(): each for each in ACTIVATIONS}
    if name.lower() not in known:
        raise UserError(f"its activation '{name}' is not supported{nearest(name, ACTIVATIONS.names())}")
    plain = known[name.lower()]
    defaults = ACTIVATIONS[plain].defaults
    parameters = [values.pop(0) if values else default for values, default in zip(given, defaults, strict=False)]
    return Activation(plain, tuple(parameters))


def _is_zero(operand: Operand) -> bool:
    return operand is None or bool(is_constant(operand) and not constant_value(operand).any())
