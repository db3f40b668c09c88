"""What a recurrence's kernel reads and keeps: its operands, buffers that live from step to step, how it is cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ..recurrent import Recurrence
from .kernel import Kernel
from .recurrent_cell import buffers

Expr = Any


@dataclass(frozen=True)
class Tile:
    """How a recurrence is cut.

    Attributes:
        lanes: units in a vector.
        vectors: vectors of units in a block.
        rows: sequences whose sums are in registers together.
        unroll: how many steps of the sum are written out.
        parts: into how many parts a step's blocks are cut for threads; 1 for none.
        share_directions: whether threads share the directions, each of which then runs by itself.
    """

    lanes: int = 1
    vectors: int = 1
    rows: int = 1
    unroll: int = 4
    parts: int = 1
    share_directions: bool = False


class Operands:
    """The operands of a recurrence, and what it keeps from step to step.

    Args:
        packed: whether the weights are stored [D, vector, K, G, units of a vector] instead of [D, G, H, K].
        dtype: the element type to compute in.

    Attributes:
        state: the states before and after a step, by the step's parity.
        kept: further buffers of each unit by name.
        constants: constant operands with the padding of the blocks.
    """

    def __init__(self, kernel: Kernel, tile: Tile, packed: bool, dtype: str) -> None:
        self.kernel, self.tile, self.packed, self.dtype = kernel, tile, packed, dtype
        work = kernel.work
        self.recurrence = Recurrence.of(dict(work.attrs))
        self.steps, self.batch, self.directions, self.gates, self.units = work.inputs[0].shape
        self.inputs, self.weights = kernel.inputs[:2]
        self.optional = dict(zip(self.recurrence.operands, kernel.inputs[2:], strict=True))
        self.whole, self.rest = divmod(self.units, tile.lanes)
        self.blocks = -(-self.units // (tile.vectors * tile.lanes))
        self.padded = self.blocks * tile.vectors * tile.lanes
        self._allocate()

    def _allocate(self) -> None:
        kept = (self.directions, self.batch, self.padded)
        self.state = T.alloc_buffer((2, *kept), self.dtype)
        self.kept = {name: T.alloc_buffer(kept, self.dtype) for name in buffers(self.recurrence)}
        padded = {"bias": (self.directions, self.padded), "peephole": (self.directions, 3, self.padded)}
        self.constants = {
            name: T.alloc_buffer(shape, self.dtype) for name, shape in padded.items() if name in self.optional
        }

    def time(self, step: Expr, direction: Expr) -> Expr:
        """Return the place in the sequence of a direction's step."""
        backwards = self.recurrence.backwards
        if len(backwards) == 1:
            return self.steps - 1 - step if backwards[0] else step
        return step + direction * (self.steps - 1 - 2 * step)

    def lasts(self, time: Expr, row: Expr) -> Expr:
        """Return whether a sequence has a step at this place."""
        return self.optional["lengths"][row] > time

    def kept_where(self, time: Expr, row: Expr, new: Expr, old: Expr) -> Expr:
        """Return the new value within the sequence, the old one after its end."""
        return tirx.Select(self.lasts(time, row), new, old) if "lengths" in self.optional else new

    def wide(self, value: Expr) -> Expr:
        """Return an operand's element in the type that is computed in."""
        return value if str(value.ty.dtype) == self.dtype else value.astype(self.dtype)

    def narrow(self, value: Expr, out: Any) -> Expr:
        """Return a result as the element of an output."""
        return value if str(out.dtype) == self.dtype else value.astype(str(out.dtype))

    def input(self, time: Expr, row: Expr, direction: Expr, gate: Expr, unit: Expr) -> Expr:
        """Return a unit's input to a gate."""
        return self.wide(self.inputs[time, row, direction, gate, unit])

    def weight(self, direction: Expr, gate: Expr, block: Expr, vector: Expr, k: Expr, lane: Expr) -> Expr:
        """Return a recurrent weight. Vectors past the last, in a block that is not full, have those of the last."""
        vectors = self.tile.vectors
        position = block * vectors + vector
        if not self.packed:
            return self.wide(self.weights[direction, gate, position, k])
        last = int(self.weights.shape[1]) - 1
        if self.blocks * vectors > last + 1:
            position = tirx.min(position, last)
        return self.weights[direction, position, k, gate, lane]
