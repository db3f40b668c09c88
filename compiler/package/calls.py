"""The calls of a plan: which kernels run in what order on which values, and where control flow turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

INPUT, WEIGHT, RESULT = "input", "weight", "result"

#: What a call is named that only copies bytes.
COPY = "memcpy"
#: What a call is named that reads a size; the symbol's text follows.
SIZE = "size:"

#: The kinds of :class:`Control`.
IF, ELSE, END_IF, LOOP, END_LOOP = "if", "else", "end if", "loop", "end loop"


@dataclass(frozen=True)
class Value:
    """A buffer.

    Attributes:
        kind: INPUT, WEIGHT or RESULT (of a kernel).
        index: which input, weight or result.
        size: its bytes; what only a run knows is a ``Dim``.
    """

    kind: str
    index: int
    size: int


@dataclass(frozen=True)
class Weight:
    """A constant: its bytes, their SHA-256, and how to get the array when it is written."""

    size: int
    sha256: str
    load: Callable[[], NDArray[np.generic]]


@dataclass(frozen=True)
class Move:
    """How far a value moves with the iterations of a loop: ``step * counter`` bytes.

    Attributes:
        counter: the loop's counter.
        step: bytes.
        side: for a value that changes sides, ``step * ((counter + side) % 2)`` bytes instead; else None.
    """

    counter: Value
    step: int
    side: int | None = None


@dataclass(frozen=True)
class Inside:
    """Where a value lives that lives inside another one: from which byte on, and with what moves."""

    root: Value
    offset: int
    moves: tuple[Move, ...] = ()


@dataclass(frozen=True)
class KernelCall:
    """A call of the kernel of this name."""

    function: str
    reads: tuple[Value, ...]
    writes: tuple[Value, ...]

    def renamed(self, names: Mapping[Value, Value]) -> KernelCall:
        """Return the call on other values."""
        reads, writes = (tuple(names.get(each, each) for each in values) for values in (self.reads, self.writes))
        return replace(self, reads=reads, writes=writes)


@dataclass(frozen=True)
class Control:
    """A mark between calls where control flow begins, turns or ends.

    Attributes:
        kind: IF, ELSE, END_IF, LOOP or END_LOOP.
        condition: one byte, 0 for false: which way an IF goes, whether a LOOP begins, whether it goes on at its
            END_LOOP. None for always.
        counter: of a loop and its end: how many iterations are complete, int64.
        trips: of a loop: how many iterations at the most, int64. None for any number.
        most: of a loop: how many iterations at the most, known now. None for any number.
    """

    kind: str
    condition: Value | None = None
    counter: Value | None = None
    trips: Value | None = None
    most: int | None = None

    @property
    def reads(self) -> tuple[Value, ...]:
        """What is read here."""
        return tuple(each for each in (self.condition, self.trips) if each)

    @property
    def writes(self) -> tuple[Value, ...]:
        """What is written here."""
        return (self.counter,) if self.counter else ()

    def renamed(self, names: Mapping[Value, Value]) -> Control:
        """Return the mark on other values."""
        condition, trips = (names.get(each, each) if each else None for each in (self.condition, self.trips))
        return replace(self, condition=condition, trips=trips)


def is_kernel(call: object) -> TypeGuard[KernelCall]:
    """Return whether a call runs a kernel: it is no mark, no copy and reads no size."""
    return isinstance(call, KernelCall) and call.function != COPY and not call.function.startswith(SIZE)


@dataclass
class Calls:
    """All that a run does.

    Attributes:
        calls: kernel calls in order, with marks of control flow between them.
        weights: constants without duplicates.
        outputs: the values that are the outputs.
        inside: values that live inside another one.
        merged: values that both branches of an IF write.
    """

    calls: list[KernelCall | Control] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    outputs: tuple[Value, ...] = ()
    inside: dict[Value, Inside] = field(default_factory=dict)
    merged: set[Value] = field(default_factory=set)

    def kernel_calls(self) -> Iterator[KernelCall]:
        """Yield the calls of kernels, copies and reads of sizes left out."""
        for call in self.calls:
            if is_kernel(call):
                yield call

    def root_of(self, value: Value) -> Inside:
        """Return the value that a value lives in at last, itself when it lives in none, and where in it."""
        offset = 0
        moves: tuple[Move, ...] = ()
        while value in self.inside:
            outer = self.inside[value]
            value, offset, moves = outer.root, offset + outer.offset, moves + outer.moves
        return Inside(value, offset, moves)

    def rename(self, names: Mapping[Value, Value], since: int) -> None:
        """Let other values take the place of some, in the calls since the one of this position."""
        if names:
            self.calls[since:] = [call.renamed(names) for call in self.calls[since:]]
            self.inside = {
                value: replace(each, root=names.get(each.root, each.root)) for value, each in self.inside.items()
            }
            self.merged = {names.get(each, each) for each in self.merged}


def blocks_of(calls: list[KernelCall | Control]) -> list[int]:
    """Return for each call the number of the block it stands in: calls of one block run equally often, in order."""
    found, stack, made = [], [0], 0
    for call in calls:
        if isinstance(call, Control) and call.kind in (ELSE, END_IF, END_LOOP):
            stack.pop()
        found.append(stack[-1])
        if isinstance(call, Control) and call.kind in (IF, ELSE, LOOP):
            made += 1
            stack.append(made)
    return found
