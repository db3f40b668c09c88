"""Write the kernel of a recurrence: sums of a unit block in registers, the cell's update while they are still there.

    for step: for block of units: for tile of sequences:
        sums[sequence, gate, unit] = inputs + sum over k of state[sequence, k] * weights[gate, unit, k]
        state'[sequence, unit], cell[sequence, unit] = cell update of the sums

A step reads all recurrent weights. They are packed so that each block streams them once, in order; blocks run backwards
in every other step, so that what was read last, and lies in the second-level cache still, is read first.
"""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from .recurrent_block import Block
from .recurrent_cell import phases
from .recurrent_operands import Operands
from .vectors import nest

Expr = Any


class RecurrentWriter(Operands):
    """Emits one recurrence."""

    def write(self) -> None:
        """Emit the kernel."""
        self._begin()
        alike = len(set(self.recurrence.activations)) == 1
        if self.tile.parts > 1:
            with T.serial(0, self.steps) as step:
                for each in [None] if alike else range(self.directions):
                    self._shared_step(step, each)
        elif alike:
            with (T.parallel if self.tile.share_directions else T.serial)(0, self.directions) as direction:
                self._direction(direction, 0)
        else:
            for each in range(self.directions):
                self._direction(each, each)
        self._end()

    def _begin(self) -> None:
        """Copy constants and initial states to where their padding can be read."""
        for name, buffer in self.constants.items():
            self._copy(buffer, self.optional[name])
        self._copy(self.state, self.optional.get("initial_h"), [0])
        if self.recurrence.cell:
            self._copy(self.kept["cell"], self.optional.get("initial_c"), [])

    def _copy(self, to: Any, source: Any, place: list[Expr] | None = None) -> None:
        """Emit a copy of rows of units with zeros after them; all zeros without a source.

        ``place`` stands before a state's indices; a sequence without steps has no initial state.
        """
        rows = [int(size) for size in to.shape[len(place or []) : -1]]
        with nest([*rows, self.padded]) as at:
            value: Expr = tirx.const(0, self.dtype)
            if source is not None:
                present = [at[-1] < self.units]
                if place is not None and "lengths" in self.optional:
                    present.append(self.lasts(0, at[1]))
                value = tirx.if_then_else(tirx.all(*present), self.wide(source[tuple(at)]), value)
            T.buffer_store(to, value, [*(place or []), *at])

    def _end(self) -> None:
        """Copy the last state and cell to the results."""
        last = [(self.state, [self.steps % 2])] + ([(self.kept["cell"], [])] if self.recurrence.cell else [])
        for (buffer, place), out in zip(last, self.kernel.outputs[1:], strict=True):
            with nest([self.directions, self.batch, self.units]) as at:
                T.buffer_store(out, self.narrow(buffer[(*place, *at)], out), at)

    def _direction(self, direction: Expr, activations: int) -> None:
        """Emit all steps of one direction."""
        with T.serial(0, self.steps) as step:
            for phase in phases(self.recurrence):
                with T.serial(0, self.blocks) as turn:
                    block = _zigzag(turn, self.blocks, step)
                    Block(self, phase, step, direction, block, activations).write()

    def _shared_step(self, step: Expr, direction: int | None) -> None:
        """Emit one step of one direction, or of all, its parts shared among threads."""
        parts = self.tile.parts
        directions = self.directions if direction is None else 1
        share = self.blocks // parts
        for phase in phases(self.recurrence):
            with T.parallel(0, directions * parts) as at, T.serial(0, share) as turn:
                which = at // parts if direction is None else direction
                block = at % parts * share + _zigzag(turn, share, step)
                Block(self, phase, step, which, block, direction or 0).write()


def _zigzag(turn: Expr, count: int, step: Expr) -> Expr:
    """Return a turn's block: ascending in even steps, descending in odd ones."""
    return turn + step % 2 * (count - 1 - 2 * turn) if count > 1 else turn
