"""Read calls of control flow: marks in the line of calls, and where the values live that cross them.

See docs/design/0005-control-flow.md, "In the plan".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .calls import COPY, ELSE, END_IF, END_LOOP, IF, LOOP, RESULT, Control, Inside, KernelCall, Move, Value
from .lowering import aligned

if TYPE_CHECKING:
    from tvm.relax import Call

    from .read_calls import Reader

_COUNTER_BYTES = 8


def _read_branch(reader: Reader, call: Call) -> tuple[Value, ...]:
    from ...passes.control_flow import blocks_of

    condition, *captures = (reader.value(each) for each in call.args)
    results = [reader.result(_bytes(each)) for each in call.ty_args[0].fields]
    marks = (Control(IF, condition), Control(ELSE))
    for mark, name, arguments in zip(marks, blocks_of(call), captures, strict=True):
        reader.found.calls.append(mark)
        begin = (len(reader.found.calls), reader.results)
        made = reader.block(reader.module[name], list(arguments))
        _write_to(reader, made, results, begin)
    reader.found.calls.append(Control(END_IF))
    reader.found.merged.update(results)
    return tuple(results)


def _read_loop(reader: Reader, call: Call) -> tuple[Value, ...]:
    return _Loop(reader, call).read()


class _Loop:
    def __init__(self, reader: Reader, call: Call) -> None:
        from ...passes.control_flow import loop_facts

        self.reader, self.found = reader, reader.found
        self.facts = loop_facts(call)
        self.body = reader.module[self.facts.body]
        trips, condition, self.carried, self.scanned, self.captures = (reader.value(each) for each in call.args)
        self.types = call.ty_args[0].fields
        self.counter = reader.result(_COUNTER_BYTES)
        self.mark = Control(
            LOOP,
            condition[0] if condition else None,
            self.counter,
            trips[0] if trips else None,
            self.facts.most if self.facts.most >= 0 else None,
        )

    def read(self) -> tuple[Value, ...]:
        """Append the loop; return its results."""
        outer = len(self.found.calls)
        pairs = [self._pair(each.size) for each in self.carried]
        now = [each[1] for each in pairs]
        whole = [self.reader.result(_bytes(each)) for each in self.types[len(now) :]]
        slices = self._slices([*self.scanned, *whole])
        self.found.calls.append(self.mark)
        begin = (len(self.found.calls), self.reader.results)
        arguments = [self.counter, *now, *slices[: len(self.scanned)], *self.captures]
        made = list(self.reader.block(self.body, arguments))
        going = made.pop(0) if self.facts.decides else None
        kept = {each: start for each, new, start in zip(now, made, self.carried, strict=False) if each == new}
        self.found.rename(kept, outer)
        made = [kept.get(each, each) for each in made]
        changed = [each for each, side in enumerate(now) if side not in kept]
        written = [*changed, *range(len(now), len(made))]
        targets = [*(each[2] for each in pairs), *slices[len(self.scanned) :]]
        names = _write_to(self.reader, [made[at] for at in written], [targets[at] for at in written], begin)
        going = names.get(kept.get(going, going), kept.get(going, going)) if going else None
        self.found.calls.append(Control(END_LOOP, going, self.counter))
        copies = [KernelCall(COPY, (self.carried[at],), (pairs[at][0],)) for at in changed]
        self.found.calls[outer:outer] = copies
        return (*(kept.get(each, each) for each in now), *whole)

    def _pair(self, size: int) -> tuple[Value, Value, Value]:
        """Return a carried value before the loop, in an iteration, and after it: two sides of one buffer."""
        side = aligned(size)
        pair = self.reader.result(2 * side)
        start, now, after = (self.reader.result(size) for _ in range(3))
        self.found.inside[start] = Inside(pair, 0)
        self.found.inside[now] = Inside(pair, 0, (Move(self.counter, side, 0),))
        self.found.inside[after] = Inside(pair, 0, (Move(self.counter, side, 1),))
        return start, now, after

    def _slices(self, whole: Sequence[Value]) -> list[Value]:
        """Return the slice of each scanned tensor and scan result that an iteration reads or writes."""
        slices = []
        for value, backwards in zip(whole, self.facts.backwards, strict=True):
            size = value.size // max(self.facts.most, 1)
            slices.append(self.reader.result(size))
            last = value.size - size
            moves = (Move(self.counter, -size if backwards else size),)
            self.found.inside[slices[-1]] = Inside(value, last if backwards else 0, moves)
        return slices


def _write_to(
    reader: Reader, made: Sequence[Value], targets: Sequence[Value], begin: tuple[int, int]
) -> dict[Value, Value]:
    """Let a block's results be written to other values; return those that are made there at once.

    What a call of the block makes is made there; what is only handed on, or wanted twice, is copied.

    Args:
        begin: how many calls and results there were when the block began.
    """
    calls, results = begin
    names: dict[Value, Value] = {}
    copies: list[KernelCall] = []
    for value, target in zip(made, targets, strict=True):
        own = value.kind == RESULT and value.index >= results and value not in reader.found.inside
        # A branch's result may be smaller than its place; copied, it is not taken for the larger.
        own = own and value.size == target.size
        if own and value not in names:
            names[value] = target
        else:
            copies.append(KernelCall(COPY, (value,), (target,)))
    reader.found.calls += copies
    reader.found.rename(names, calls)
    return names


def _bytes(kind: Any) -> int:
    from .read_calls import bytes_of

    return bytes_of(kind)


#: From the name of an operator to the function that reads a call of it.
READERS: dict[str, Callable[[Reader, Call], tuple[Value, ...]]] = {
    "relax.tilewright.branch": _read_branch,
    "relax.tilewright.loop": _read_loop,
}
