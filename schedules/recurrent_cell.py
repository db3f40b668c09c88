"""The cells of recurrent layers: how one unit's state follows from the sums of its gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tvm import tirx

from ..recurrent import Recurrence
from ..workload import PointwiseProgram, PointwiseStep, attributes
from .bindings import Bindings, Expr
from .scalar import evaluate_in


class Unit(Protocol):
    """One unit of one sequence in one step, as a cell sees it: values to read, and where its results go."""

    @property
    def recurrence(self) -> Recurrence:
        """What is computed."""

    @property
    def direction(self) -> int:
        """Which direction, as far as activations differ between directions."""

    @property
    def dtype(self) -> str:
        """The element type to compute in."""

    def sum(self, gate: int) -> Expr:
        """Return a gate's sum: input, bias, product with the source; of a gate apart the product alone."""

    def input(self) -> Expr:
        """Return the input of the gate that the phase keeps apart."""

    def peephole(self, gate: int) -> Expr:
        """Return the weight from the cell to a gate."""

    def load(self, name: str) -> Expr:
        """Return the unit's value in a buffer of the recurrence: "state" is the state before the step."""

    def store(self, name: str, value: Expr) -> None:
        """Store the unit's value in a buffer of the recurrence: "state" is the state after the step."""


@dataclass(frozen=True)
class Phase:
    """A part of a step that ends before the next begins, because that reads what all units computed.

    Attributes:
        first: the first gate whose products it sums.
        gates: how many gates that are.
        source: the buffer that is multiplied with the weights.
        apart: a gate whose input stays apart from its sum, or -1.
        update: computes a unit from the sums.
    """

    first: int
    gates: int
    source: str
    apart: int
    update: Callable[[Unit], None]


def phases(recurrence: Recurrence) -> tuple[Phase, ...]:
    """Return the phases of a step."""
    if recurrence.kind == "gru" and not recurrence.linear_before_reset:
        return _GRU_RESET_FIRST
    return _PHASES[recurrence.kind]


def buffers(recurrence: Recurrence) -> tuple[str, ...]:
    """Return the names of what a step keeps for each unit beside the state."""
    names = {"cell"} if recurrence.cell else set()
    names |= {"update", "reset"} if len(phases(recurrence)) > 1 else set()
    return tuple(sorted(names))


def _activated(v: Bindings, unit: Unit, index: int, total: Expr) -> Expr:
    """Return an activation of a gate's sum, clipped where the recurrence says so."""
    clip = unit.recurrence.clip
    if clip:
        step = PointwiseStep("clip", (0,), unit.dtype, attributes({"min": -clip, "max": clip}))
        total = evaluate_in(v, PointwiseProgram(1, (step,)), [total])
    return _activation(v, unit, index, total)


def _activation(v: Bindings, unit: Unit, index: int, value: Expr) -> Expr:
    program = unit.recurrence.activations[unit.direction][index].program(unit.dtype)
    return v.bind(evaluate_in(v, program, [value]))


def _peeped(unit: Unit, gate: int, weight: int, cell: Expr) -> Expr:
    """Return a gate's sum with what the cell adds through its peephole."""
    if "peephole" not in unit.recurrence.operands:
        return unit.sum(gate)
    return unit.sum(gate) + unit.peephole(weight) * cell


def _lstm(unit: Unit) -> None:
    """c' = f c + i g; h' = o tanh(c'): Gers et al. 2000, with the peepholes of Gers and Schmidhuber 2000."""
    v = Bindings()
    cell = v.bind(unit.load("cell"))
    i = _activated(v, unit, 0, _peeped(unit, 0, 0, cell))
    if unit.recurrence.input_forget:
        f = v.bind(tirx.const(1, unit.dtype) - i)
    else:
        f = _activated(v, unit, 0, _peeped(unit, 2, 2, cell))
    unit.store("cell", v.close(f * cell + i * _activated(v, unit, 1, unit.sum(3))))
    v = Bindings()
    cell = v.bind(unit.load("cell"))
    o = _activated(v, unit, 0, _peeped(unit, 1, 1, cell))
    unit.store("state", v.close(o * _activation(v, unit, 2, cell)))


def _blend(v: Bindings, unit: Unit, z: Expr, candidate: Expr) -> Expr:
    """Return (1 - z) candidate + z h."""
    return (tirx.const(1, unit.dtype) - z) * candidate + z * unit.load("state")


def _gru(unit: Unit) -> None:
    """The reset gate multiplies the candidate's product: Chung et al. 2014 as cuDNN and PyTorch have it."""
    v = Bindings()
    z = _activated(v, unit, 0, unit.sum(0))
    r = _activated(v, unit, 0, unit.sum(1))
    candidate = _activated(v, unit, 1, v.bind(unit.input() + r * unit.sum(2)))
    unit.store("state", v.close(_blend(v, unit, z, candidate)))


def _gru_gates(unit: Unit) -> None:
    """The first half of Cho et al. 2014: the gates, and the state after the reset."""
    v = Bindings()
    unit.store("update", v.close(_activated(v, unit, 0, unit.sum(0))))
    v = Bindings()
    unit.store("reset", v.close(_activated(v, unit, 0, unit.sum(1)) * unit.load("state")))


def _gru_candidate(unit: Unit) -> None:
    v = Bindings()
    candidate = _activated(v, unit, 1, unit.sum(2))
    unit.store("state", v.close(_blend(v, unit, v.bind(unit.load("update")), candidate)))


def _rnn(unit: Unit) -> None:
    """Elman 1990."""
    v = Bindings()
    unit.store("state", v.close(_activated(v, unit, 0, unit.sum(0))))


_PHASES: dict[str, tuple[Phase, ...]] = {
    "lstm": (Phase(0, 4, "state", -1, _lstm),),
    "gru": (Phase(0, 3, "state", 2, _gru),),
    "rnn": (Phase(0, 1, "state", -1, _rnn),),
}
_GRU_RESET_FIRST = (Phase(0, 2, "state", -1, _gru_gates), Phase(2, 1, "reset", -1, _gru_candidate))
