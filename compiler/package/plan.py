"""The plan: kernel calls with every operand's place, and the memory they need."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ...atoms import plain
from ...dim_text import parse
from ...dims import upper
from .arena import Lifetime, lower_bound, place
from .calls import COPY as COPY
from .calls import END_LOOP, INPUT, LOOP, RESULT, SIZE, WEIGHT, Calls, Control, KernelCall, Value, Weight, is_kernel
from .lowering import ALIGNMENT, aligned

ARENA, OUTPUT = "arena", "output"


@dataclass(frozen=True)
class Place:
    """Where an operand lies.

    Attributes:
        space: INPUT, OUTPUT, ARENA or WEIGHT.
        offset: bytes from the start of the arena or the weights; which input or output.
        inner: bytes from there on.
        moves: how it moves with the iterations of loops.
    """

    space: str
    offset: int
    inner: int = 0
    moves: tuple[PlaceMove, ...] = ()


@dataclass(frozen=True)
class PlaceMove:
    """A :class:`.calls.Move` whose counter has its place."""

    counter: Place
    step: int
    side: int | None = None


@dataclass(frozen=True)
class Turn:
    """A :class:`.calls.Control` whose values have their places: it stands before the step of this number."""

    before: int
    kind: str
    condition: Place | None = None
    counter: Place | None = None
    trips: Place | None = None
    most: int | None = None


@dataclass(frozen=True)
class KernelFacts:
    """What the plan needs of a kernel.

    Attributes:
        symbol: its name.
        scratch: bytes of scratch.
        flops, bytes: the cost of one call.
        sizes: the sizes it asks for.
        in_place: operands in whose memory its only output may lie.
    """

    symbol: str
    scratch: int = 0
    flops: float = 0.0
    bytes: float = 0.0
    sizes: tuple[int, ...] = ()
    in_place: tuple[int, ...] = ()


@dataclass(frozen=True)
class Step:
    """One call.

    Attributes:
        name: the operators it computes.
        kernel: the symbol of the kernel, COPY, or SIZE, which reads a size that a kernel has computed.
        reads: places of the inputs.
        writes: places of the outputs, then of the scratch where the kernel takes some.
        flops: floating-point operations of a run: of every iteration, where their number is known.
        bytes: bytes of the operands, likewise.
        size: for a copy, how many bytes are copied.
        sizes: the symbols that the kernel takes after its operands.
        scratch: whether the last place is the kernel's scratch, which it takes after the symbols.
    """

    name: str
    kernel: str
    reads: tuple[Place, ...]
    writes: tuple[Place, ...]
    flops: float
    bytes: float
    size: int = 0
    sizes: tuple[int, ...] = ()
    scratch: bool = False


@dataclass(frozen=True)
class Run:
    """The part of a plan that serves some fixed sizes.

    Attributes:
        first: its first step.
        end: the step behind its last.
        turns: its control flow.
        fixed: the sizes that it serves, by the symbols' names.
    """

    first: int
    end: int
    turns: tuple[Turn, ...]
    fixed: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Plan:
    """Everything a run does.

    Attributes:
        steps: in order.
        turns: where control flow begins, turns and ends, in order; none when every step runs once.
        weights: constants in the order of their offsets in the blob.
        weight_offsets: where each constant lies in the blob, a multiple of 64.
        weight_bytes: size of the blob.
        arena_bytes: memory for intermediate results and scratch.
        lower_bound: the most bytes that live in one step; no arena could be smaller.
        variants: parts of the steps that serve fixed sizes instead of the general ones, in order of preference.
        general_steps: how many steps stand before those of the variants; meaningful where there are any.
    """

    steps: tuple[Step, ...]
    turns: tuple[Turn, ...]
    weights: tuple[Weight, ...]
    weight_offsets: tuple[int, ...]
    weight_bytes: int
    arena_bytes: int
    lower_bound: int
    variants: tuple[Run, ...] = ()
    general_steps: int = 0


def make_plan(found: Calls, kernels: Mapping[str, KernelFacts], alignment: int = ALIGNMENT) -> Plan:
    """Lay out memory for a sequence of kernel calls.

    A result that is an output is written straight into the caller's buffer, where later steps read it; outputs that
    are an input, a constant or the same value as an earlier output become copies at the end. Scratch of a kernel lives
    for one step, in the arena beside the values. A sum lies in the memory of the residual it ends.

    Args:
        kernels: by the function name in the calls.
        alignment: of values and weights, in bytes.
    """
    weight_offsets, weight_bytes = _pack([each.size for each in found.weights], alignment)
    roots: dict[Value, Place] = {}
    copies: list[tuple[int, Value]] = []
    for index, value in enumerate(found.outputs):
        if value.kind == RESULT and value not in roots and value not in found.inside:
            roots[value] = Place(OUTPUT, index)
        else:
            copies.append((index, value))
    scratch = [kernels[call.function].scratch if is_kernel(call) else 0 for call in found.calls]
    in_arena, lifetimes = _lifetimes(found, kernels, scratch, roots)
    offsets, arena_bytes = place(lifetimes, alignment)
    roots.update((value, Place(ARENA, offsets[index])) for value, index in in_arena.items())
    places = _Places(found, roots, weight_offsets)
    steps, turns = _steps(found, kernels, places, iter(offsets[len(set(in_arena.values())) :]), scratch)
    steps += [_copy(places[value], Place(OUTPUT, index), value.size) for index, value in copies]
    return Plan(
        tuple(steps),
        tuple(turns),
        tuple(found.weights),
        tuple(weight_offsets),
        weight_bytes,
        arena_bytes,
        lower_bound(lifetimes, alignment),
    )


def _pack(sizes: Sequence[int], alignment: int) -> tuple[list[int], int]:
    offsets = []
    end = 0
    for size in sizes:
        offsets.append(aligned(end, alignment))
        end = offsets[-1] + size
    return offsets, aligned(end, alignment)


class _Places:
    """The place of every value, those inside others too.

    Args:
        roots: places of the results that live in no other value.
    """

    def __init__(self, found: Calls, roots: Mapping[Value, Place], weight_offsets: Sequence[int]) -> None:
        self._found, self._roots, self._weight_offsets = found, roots, weight_offsets

    def __getitem__(self, value: Value) -> Place:
        inside = self._found.root_of(value)
        moves = tuple(PlaceMove(self[each.counter], each.step, each.side) for each in inside.moves)
        return replace(self._root(inside.root), inner=inside.offset, moves=moves)

    def of(self, value: Value | None) -> Place | None:
        """Return the place of a value, None for none."""
        return self[value] if value else None

    def _root(self, value: Value) -> Place:
        if value.kind == INPUT:
            return Place(INPUT, value.index)
        if value.kind == WEIGHT:
            return Place(WEIGHT, self._weight_offsets[value.index])
        return self._roots[value]


def _lifetimes(
    found: Calls, kernels: Mapping[str, KernelFacts], scratch: Sequence[int], elsewhere: Mapping[Value, Place]
) -> tuple[dict[Value, int], list[Lifetime]]:
    """Return the results that go into the arena with their index, and all lifetimes: theirs, then the scratch's.

    Results that share memory have the same index.
    """
    spans: dict[Value, tuple[int, int]] = {}
    end = len(found.calls)
    for step, call in enumerate(found.calls):
        for value in _touched(found, (*call.writes, *call.reads)):
            spans[value] = (spans.get(value, (step, step))[0], step)
    for value in _touched(found, found.outputs):
        spans[value] = (spans.get(value, (end, end))[0], end)
    spans = {value: span for value, span in spans.items() if value.kind == RESULT and value not in elsewhere}
    loops = _loops(found)
    whole = {value: _whole_loops(span, loops) for value, span in spans.items()}
    indices: dict[Value, int] = {}
    lifetimes: list[Lifetime] = []
    hosts = _hosts(found, kernels, whole)
    for value, (first, last) in whole.items():
        if value in hosts:
            indices[value] = index = indices[hosts[value]]
            lifetimes[index] = replace(lifetimes[index], last=last)
        else:
            indices[value] = len(lifetimes)
            lifetimes.append(Lifetime(upper(value.size), first, last))
    lifetimes += [Lifetime(size, step, step) for step, size in enumerate(scratch) if size]
    return indices, lifetimes


def _hosts(
    found: Calls, kernels: Mapping[str, KernelFacts], spans: Mapping[Value, tuple[int, int]]
) -> dict[Value, Value]:
    """Return in which operand's memory results lie: operands that the result's own step is the last to touch."""
    roots = {each.root for each in found.inside.values()} | set(found.inside) | found.merged
    hosts: dict[Value, Value] = {}
    for step, call in enumerate(found.calls):
        if not is_kernel(call):
            continue
        (result, *_) = call.writes
        for at in kernels[call.function].in_place:
            operand = call.reads[at]
            alone = operand in spans and result in spans and not {operand, result} & roots
            if (
                alone
                and call.reads.count(operand) == 1
                and operand.size == result.size
                and spans[operand][1] == step == spans[result][0]
            ):
                hosts[result] = operand
                break
    return hosts


def _touched(found: Calls, values: Sequence[Value]) -> Iterator[Value]:
    """Yield the values in which these live, and the counters with which they move."""
    for value in values:
        inside = found.root_of(value)
        yield inside.root
        yield from _touched(found, [each.counter for each in inside.moves])


def _loops(found: Calls) -> list[tuple[int, int]]:
    """Return where each loop begins and ends, inner loops before outer ones."""
    begun: list[int] = []
    loops = []
    for step, call in enumerate(found.calls):
        if isinstance(call, Control) and call.kind == LOOP:
            begun.append(step)
        elif isinstance(call, Control) and call.kind == END_LOOP:
            loops.append((begun.pop(), step))
    return loops


def _whole_loops(span: tuple[int, int], loops: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the life of a value that outlives an iteration: what is touched in a loop and outside lives all of it."""
    first, last = span
    for begin, end in loops:
        meets, contained = first <= end and begin <= last, begin <= first and last <= end
        if meets and not contained:
            first, last = min(first, begin), max(last, end)
    return first, last


def _steps(
    found: Calls,
    kernels: Mapping[str, KernelFacts],
    places: _Places,
    scratch_offsets: Iterator[int],
    scratch: Sequence[int],
) -> tuple[list[Step], list[Turn]]:
    """Return the steps and where control flow turns between them."""
    steps: list[Step] = []
    turns: list[Turn] = []
    rounds: list[int] = []
    for call, bytes_ in zip(found.calls, scratch, strict=True):
        if isinstance(call, Control):
            condition, counter, trips = (places.of(each) for each in (call.condition, call.counter, call.trips))
            turns.append(Turn(len(steps), call.kind, condition, counter, trips, call.most))
            if call.kind == LOOP:
                rounds.append(call.most if call.most is not None else 1)
            elif call.kind == END_LOOP:
                rounds.pop()
            continue
        step = _step(call, kernels, places, next(scratch_offsets) if bytes_ else None)
        times = math.prod(rounds)
        steps.append(replace(step, flops=step.flops * times, bytes=step.bytes * times))
    return steps, turns


def _step(call: KernelCall, kernels: Mapping[str, KernelFacts], places: _Places, scratch: int | None) -> Step:
    if call.function == COPY:
        return _copy(places[call.reads[0]], places[call.writes[0]], call.reads[0].size)
    if call.function.startswith(SIZE):
        symbol = parse(call.function.removeprefix(SIZE))
        return Step(f"size {plain(symbol)}", SIZE, (places[call.reads[0]],), (), 0.0, 8.0, sizes=(symbol,))
    kernel = kernels[call.function]
    writes = [places[each] for each in call.writes]
    if scratch is not None:
        writes.append(Place(ARENA, scratch))
    return Step(
        call.function,
        kernel.symbol,
        tuple(places[each] for each in call.reads),
        tuple(writes),
        kernel.flops,
        kernel.bytes,
        sizes=kernel.sizes,
        scratch=scratch is not None,
    )


def _copy(source: Place, destination: Place, size: int) -> Step:
    return Step("copy", COPY, (source,), (destination,), 0.0, 2.0 * upper(size), size)
