"""One block of units in one step of a recurrence: its sums in registers, then the update of its cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ..recurrent import Recurrence
from .kernel import balanced, starts, unrolled_loop
from .recurrent_cell import Phase, phases
from .recurrent_operands import Operands
from .vectors import lane_loop

Expr = Any


class Block:
    """Emits one block of units in one phase of one step.

    Args:
        activations: the direction whose activations it has.
    """

    def __init__(
        self, operands: Operands, phase: Phase, step: Expr, direction: Expr, block: Expr, activations: int
    ) -> None:
        self.operands, self.phase, self.step, self.direction = operands, phase, step, direction
        self.block, self.activations = block, activations
        self.lanes, self.vectors = operands.tile.lanes, operands.tile.vectors
        self.columns = phase.gates * self.vectors
        self.time = operands.time(step, direction)
        peepholes = [f"peephole {gate}" for gate in range(3)] if "peephole" in operands.constants else []
        self.names = ["state", *operands.kept, *peepholes]

    def write(self) -> None:
        """Emit all sequences, a tile of them at a time."""
        for first, size, count in starts(balanced(self.operands.batch, self.operands.tile.rows)):
            with T.serial(0, count) as at:
                self._rows(at * size + first, size)

    def _rows(self, row: Expr, rows: int) -> None:
        dtype = self.operands.dtype
        self.sums = T.alloc_buffer((rows * self.columns, self.lanes), dtype, scope="local")
        if self.phase.apart >= 0:
            self.apart = T.alloc_buffer((rows * self.vectors, self.lanes), dtype, scope="local")
        for gate in range(self.phase.first, self.phase.first + self.phase.gates):
            with T.unroll(0, rows) as at, T.unroll(0, self.vectors) as vector:
                self._start(row + at, at, gate, vector)
        self._multiply(row, rows)
        self.held = T.alloc_buffer((len(self.names), self.lanes), dtype, scope="local")
        with T.unroll(0, rows) as at, T.unroll(0, self.vectors) as vector:
            with lane_loop(self.lanes) as lane:
                cell = _Cell(self, row + at, at, vector, lane)
                cell.fetch()
                self.phase.update(cell)
            self._show(row + at, vector)

    def column(self, at: Expr, gate: int, vector: Expr) -> Expr:
        """Return which sum belongs to a sequence of the tile, a gate and a vector."""
        return at * self.columns + (gate - self.phase.first) * self.vectors + vector

    def unit(self, vector: Expr, lane: Expr) -> Expr:
        """Return the unit at a lane."""
        return (self.block * self.vectors + vector) * self.lanes + lane

    def _start(self, row: Expr, at: Expr, gate: int, vector: Expr) -> None:
        """Load a vector of inputs into the sums; of the gate apart beside them, the recurrent bias into the sums."""
        operands = self.operands
        target, place = self.sums, self.column(at, gate, vector)
        if gate == self.phase.apart:
            with lane_loop(self.lanes) as lane:
                bias = operands.constants.get("bias")
                unit = self.unit(vector, lane)
                start = bias[self.direction, unit] if bias is not None else tirx.const(0, operands.dtype)
                T.buffer_store(self.sums, start, [place, lane])
            target, place = self.apart, at * self.vectors + vector

        def load(lane: Expr) -> None:
            value = operands.input(self.time, row, self.direction, gate, self.unit(vector, lane))
            T.buffer_store(target, value, [place, lane])

        def clear(lane: Expr) -> None:
            T.buffer_store(target, tirx.const(0, operands.dtype), [place, lane])

        self._units(vector, load, clear)

    def _multiply(self, row: Expr, rows: int) -> None:
        """Add the products of the source with the weights."""
        operands, phase = self.operands, self.phase
        source = operands.kept.get(phase.source)
        for start, steps, unroll in unrolled_loop(operands.units, operands.tile.unroll):
            with T.serial(0, steps) as outer, T.unroll(0, unroll) as inner:
                k = outer * unroll + inner + start
                with T.unroll(0, rows) as at, T.unroll(0, self.columns) as column, lane_loop(self.lanes) as lane:
                    index = (self.direction, row + at, k)
                    element = operands.state[(self.step % 2, *index)] if source is None else source[index]
                    gate, vector = phase.first + column // self.vectors, column % self.vectors
                    weight = operands.weight(self.direction, gate, self.block, vector, k, lane)
                    place = [at * self.columns + column, lane]
                    T.buffer_store(self.sums, self.sums[tuple(place)] + element * weight, place)

    def _show(self, row: Expr, vector: Expr) -> None:
        """Copy a vector of the new state to the results, once the phase has made it."""
        operands, out = self.operands, self.operands.kernel.outputs[0]
        if self.phase is not phases(operands.recurrence)[-1]:
            return

        def show(lane: Expr) -> None:
            unit = self.unit(vector, lane)
            state = operands.state[(self.step + 1) % 2, self.direction, row, unit]
            value = operands.kept_where(self.time, row, state, tirx.const(0, operands.dtype))
            T.buffer_store(out, operands.narrow(value, out), [self.time, row, self.direction, unit])

        self._units(vector, show)

    def _units(
        self, vector: Expr, inside: Callable[[Expr], None], outside: Callable[[Expr], None] | None = None
    ) -> None:
        """Emit ``inside(lane)`` for a vector's units, after ``outside(lane)`` where not all of its lanes are units."""
        operands = self.operands
        if operands.padded == operands.units:
            with lane_loop(self.lanes) as lane:
                inside(lane)
            return
        if outside:
            with lane_loop(self.lanes) as lane:
                outside(lane)
        position = self.block * self.vectors + vector
        with T.If(position < operands.whole), T.Then(), lane_loop(self.lanes) as lane:
            inside(lane)
        if operands.rest:
            # Written out, for a lane that is not known in advance would move the sums out of registers.
            with T.If(position == operands.whole), T.Then(), T.unroll(0, operands.rest) as lane:
                inside(lane)


@dataclass(frozen=True)
class _Cell:
    """One unit of one sequence (see :class:`~tilewright.schedules.recurrent_cell.Unit`)."""

    block: Block
    row: Expr
    at: Expr
    vector: Expr
    lane: Expr

    @property
    def recurrence(self) -> Recurrence:
        """What is computed."""
        return self.block.operands.recurrence

    @property
    def direction(self) -> int:
        """The direction whose activations it has."""
        return self.block.activations

    @property
    def dtype(self) -> str:
        """The element type it computes in."""
        return self.block.operands.dtype

    def sum(self, gate: int) -> Expr:
        """Return a gate's sum."""
        return self.block.sums[self.block.column(self.at, gate, self.vector), self.lane]

    def input(self) -> Expr:
        """Return the input of the gate apart."""
        return self.block.apart[self.at * self.block.vectors + self.vector, self.lane]

    def peephole(self, gate: int) -> Expr:
        """Return a weight from the cell."""
        return self.load(f"peephole {gate}")

    def load(self, name: str) -> Expr:
        """Return the unit's value by name."""
        return self.block.held[self.block.names.index(name), self.lane]

    def fetch(self) -> None:
        """Emit loads of everything by name, each a statement.

        TVM's elimination of common subexpressions misplaces an index that stands in a ``let`` and in a later statement.
        """
        block, operands = self.block, self.block.operands
        unit = block.unit(self.vector, self.lane)
        for slot, name in enumerate(block.names):
            if name.startswith("peephole"):
                value = operands.constants["peephole"][block.direction, int(name.split()[1]), unit]
            else:
                buffer, place = self._place(name, block.step)
                value = buffer[tuple(place)]
            T.buffer_store(block.held, value, [slot, self.lane])

    def store(self, name: str, value: Expr) -> None:
        """Store the unit's value in a buffer; after the sequence's end state and cell stay as they were."""
        buffer, place = self._place(name, self.block.step + 1)
        if name in ("state", "cell"):
            value = self.block.operands.kept_where(self.block.time, self.row, value, self.load(name))
        T.buffer_store(self.block.held, value, [self.block.names.index(name), self.lane])
        T.buffer_store(buffer, self.load(name), place)

    def _place(self, name: str, step: Expr) -> tuple[Any, list[Expr]]:
        operands = self.block.operands
        place = [self.block.direction, self.row, self.block.unit(self.vector, self.lane)]
        return (operands.state, [step % 2, *place]) if name == "state" else (operands.kept[name], place)
