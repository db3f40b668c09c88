"""The operator ``relax.tilewright.recurrent``: a whole LSTM, GRU or RNN after its input projection.

Relax has no such operator. This module registers ours: the type of its result, and its meaning as plain Relax
operators, one step after the other. The expansion is what the operator's kernels are tested against; kernels are made
by the templates of the family ``recurrent``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tvm import relax
from tvm.ir import Op, make_node, register_op_attr

from ..recurrent import OPTIONAL_OPERANDS, Recurrence
from ..recurrent_activations import Activation
from ..tvm_names import dtype_of, register_operator, shape_of
from ..workload import PointwiseStep

if TYPE_CHECKING:
    from tvm.relax import BlockBuilder, Call, Expr

#: The operator's name without ``relax.``.
NAME = "tilewright.recurrent"


def recurrent(recurrence: Recurrence, gates: Expr, weights: Expr, optional: dict[str, Expr]) -> Call:
    """Return a call of the operator; its result is a tuple. Operands and results: see :mod:`tilewright.recurrent`."""
    assert tuple(optional) == tuple(name for name in OPTIONAL_OPERANDS if name in optional) == recurrence.operands
    attrs = make_node("ir.DictAttrs", **dict(recurrence.attributes()))
    return relax.Call(Op.get(f"relax.{NAME}"), [gates, weights, *optional.values()], attrs)


def recurrence_of(call: Call) -> Recurrence:
    """Return the recurrence that a call of the operator computes."""
    return Recurrence.of(dict(call.attrs.items()))


def _infer_type(call: Call, _: BlockBuilder) -> Any:
    steps, batch, directions, _gates, units = shape_of(call.args[0])
    dtype = dtype_of(call.args[0])
    last = relax.TensorType((directions, batch, units), dtype)
    cells = [last] if recurrence_of(call).cell else []
    return relax.TupleType([relax.TensorType((steps, batch, directions, units), dtype), last, *cells])


def expand(builder: BlockBuilder, call: Call) -> Expr:
    """Return the operator's result as plain Relax operators, every step unrolled."""
    return _Expansion(builder, call).result()


class _Expansion:
    def __init__(self, builder: BlockBuilder, call: Call) -> None:
        self.builder = builder
        self.recurrence = recurrence_of(call)
        self.gates, self.weights, *others = call.args
        self.optional = dict(zip(self.recurrence.operands, others, strict=True))
        self.steps, self.batch, _, _, self.units = shape_of(self.gates)
        self.dtype = dtype_of(self.gates)

    def result(self) -> Expr:
        directions = [self._direction(at) for at in range(len(self.recurrence.backwards))]
        states, *last = [list(each) for each in zip(*directions, strict=True)]
        return relax.Tuple([self.join(states, 2), *(self.join(each, 0) for each in last)])

    def _direction(self, at: int) -> list[Expr]:
        """Return all states [S, B, 1, H], the last one [1, B, H] and the last cell where there is one."""
        h = self._initial("initial_h", at)
        c = self._initial("initial_c", at)
        whole = self.reshaped(self.part(self.weights, at), (-1, self.units))
        weights = self.do(relax.op.permute_dims(whole))
        found: dict[int, Expr] = {}
        times = range(self.steps)
        for time in reversed(times) if self.recurrence.backwards[at] else times:
            inputs = self.part(self.gates, time, (0, self.batch), at)
            products = self.reshaped(self.do(relax.op.matmul(h, weights)), (self.batch, -1, self.units))
            sums = [self._gate(each, inputs, products, at) for each in range(self.recurrence.gates)]
            new_h, new_c = _CELLS[self.recurrence.kind](self, at, sums, h, c, weights)
            found[time], h, c = self._kept(time, new_h, new_c, h, c)
        states = self.join([self.reshaped(found[time], (1, self.batch, 1, self.units)) for time in times], 0)
        last = [h, c] if self.recurrence.cell else [h]
        return [states, *(self.reshaped(each, (1, self.batch, self.units)) for each in last)]

    def _gate(self, gate: int, inputs: Expr, products: Expr, direction: int) -> tuple[Expr, Expr]:
        """Return a gate's input and its product with the state."""
        product = self.part(products, (0, self.batch), gate)
        if gate == 2 and "bias" in self.optional:
            product = self.do(relax.op.add(product, self.part(self.optional["bias"], direction)))
        return self.part(inputs, (0, self.batch), gate), product

    def _kept(self, time: int, new_h: Expr, new_c: Expr, h: Expr, c: Expr) -> tuple[Expr, Expr, Expr]:
        """Return a step's visible state, its state and its cell: after a sequence's end the state stays as it was."""
        if "lengths" not in self.optional:
            return new_h, new_h, new_c
        inside = self._longer_than(time)
        kept = [self.do(relax.op.where(inside, new, old)) for new, old in ((new_h, h), (new_c, c))]
        return self.do(relax.op.where(inside, new_h, self.const(0.0))), kept[0], kept[1]

    def _initial(self, name: str, direction: int) -> Expr:
        if name not in self.optional:
            return relax.op.zeros((self.batch, self.units), self.dtype)
        state = self.part(self.optional[name], direction)
        if "lengths" not in self.optional:
            return state
        return self.do(relax.op.where(self._longer_than(0), state, self.const(0.0)))

    def _longer_than(self, time: int) -> Expr:
        """Return for each sequence whether it has a step of this number, as [B, 1]."""
        lengths = self.reshaped(self.optional["lengths"], (self.batch, 1))
        return self.do(relax.op.greater(lengths, relax.const(time, dtype_of(lengths))))

    def peephole(self, direction: int, gate: int, c: Expr) -> Expr:
        """Return what the cell adds to a gate."""
        if "peephole" not in self.optional:
            return self.const(0.0)
        return self.do(relax.op.multiply(self.part(self.optional["peephole"], direction, gate), c))

    def activated(self, direction: int, index: int, *terms: Expr) -> Expr:
        """Return an activation of a gate's terms, summed and clipped."""
        total = terms[0]
        for term in terms[1:]:
            total = self.do(relax.op.add(total, term))
        if self.recurrence.clip:
            total = self.do(relax.op.clip(total, -self.recurrence.clip, self.recurrence.clip))
        return self.activation(self.recurrence.activations[direction][index], total)

    def activation(self, activation: Activation, value: Expr) -> Expr:
        """Return an activation of a tensor."""
        values = [value]
        for step in activation.program(self.dtype).steps:
            values.append(self.do(_operator_call(step, [values[at] for at in step.args])))
        return values[-1]

    def do(self, expr: Expr) -> Expr:
        """Bind an expression."""
        return self.builder.emit(expr)

    def const(self, value: float) -> Expr:
        """Return a scalar."""
        return relax.const(value, self.dtype)

    def join(self, parts: list[Expr], axis: int) -> Expr:
        """Return tensors one after the other along an axis."""
        return self.do(relax.op.concat(parts, axis)) if len(parts) > 1 else parts[0]

    def reshaped(self, value: Expr, shape: Sequence[int]) -> Expr:
        """Return a tensor in another shape."""
        return self.do(relax.op.reshape(value, tuple(shape)))

    def part(self, value: Expr, *indices: int | tuple[int, int]) -> Expr:
        """Return ``value[indices]``, a pair standing for a range that keeps its axis."""
        ranges = [each if isinstance(each, tuple) else (each, each + 1) for each in indices]
        axes = list(range(len(ranges)))
        cut = self.do(relax.op.strided_slice(value, axes, [a for a, _ in ranges], [b for _, b in ranges]))
        kept = [b - a for (a, b), each in zip(ranges, indices, strict=True) if isinstance(each, tuple)]
        return self.reshaped(cut, (*kept, *shape_of(value)[len(ranges) :]))


_Sums = list[tuple[Any, Any]]


def _lstm(e: _Expansion, d: int, sums: _Sums, h: Expr, c: Expr, weights: Expr) -> tuple[Expr, Expr]:
    """Hochreiter and Schmidhuber 1997 with forget gates and peepholes, as ONNX states it."""
    i = e.activated(d, 0, *sums[0], e.peephole(d, 0, c))
    f = e.activated(d, 0, *sums[2], e.peephole(d, 2, c))
    if e.recurrence.input_forget:
        f = e.do(relax.op.subtract(e.const(1.0), i))
    kept = e.do(relax.op.multiply(f, c))
    c = e.do(relax.op.add(kept, e.do(relax.op.multiply(i, e.activated(d, 1, *sums[3])))))
    o = e.activated(d, 0, *sums[1], e.peephole(d, 1, c))
    return e.do(relax.op.multiply(o, e.activation(e.recurrence.activations[d][2], c))), c


def _gru(e: _Expansion, d: int, sums: _Sums, h: Expr, c: Expr, weights: Expr) -> tuple[Expr, Expr]:
    """Cho et al. 2014; the reset gate multiplies the state or, ``linear_before_reset``, the product with it."""
    z, r = (e.activated(d, 0, *sums[gate]) for gate in (0, 1))
    product = e.do(relax.op.multiply(r, sums[2][1]))
    if not e.recurrence.linear_before_reset:
        last = e.do(relax.op.strided_slice(weights, [1], [2 * e.units], [3 * e.units]))
        product = e.do(relax.op.matmul(e.do(relax.op.multiply(r, h)), last))
    candidate = e.activated(d, 1, sums[2][0], product)
    fresh = e.do(relax.op.multiply(e.do(relax.op.subtract(e.const(1.0), z)), candidate))
    return e.do(relax.op.add(fresh, e.do(relax.op.multiply(z, h)))), c


def _rnn(e: _Expansion, d: int, sums: _Sums, h: Expr, c: Expr, weights: Expr) -> tuple[Expr, Expr]:
    """Elman 1990."""
    return e.activated(d, 0, *sums[0]), c


_CELLS = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}


def _operator_call(step: PointwiseStep, args: list[Expr]) -> Expr:
    attrs = dict(step.attrs)
    if step.op == "const":
        return relax.const(attrs["value"], step.dtype)
    make: Any = relax.op
    for name in step.op.split("."):
        make = getattr(make, name)
    return make(*args, *(attrs[name] for name in ("alpha", "min", "max") if name in attrs))


register_operator(f"relax.{NAME}", "A recurrence over all steps.", _infer_type)
register_op_attr(f"relax.{NAME}", "FLegalize", expand)
