"""The plan: kernel calls with every operand's place, and the memory they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .arena import Lifetime, lower_bound, place
from .calls import INPUT, RESULT, WEIGHT, Calls, KernelCall, Value, Weight
from .lowering import ALIGNMENT, aligned
from .views import COPY as COPY
from .views import root_of

ARENA, OUTPUT = "arena", "output"


@dataclass(frozen=True)
class Place:
    """Where an operand lies.

    Attributes:
        space: INPUT, OUTPUT, ARENA or WEIGHT.
        offset: bytes from the start of the arena or the weights; which input or output.
        inner: bytes from there on.
    """

    space: str
    offset: int
    inner: int = 0


@dataclass(frozen=True)
class KernelFacts:
    """What the plan needs of a kernel: symbol, bytes of scratch, and the cost of one call."""

    symbol: str
    scratch: int = 0
    flops: float = 0.0
    bytes: float = 0.0


@dataclass(frozen=True)
class Step:
    """One call.

    Attributes:
        name: the operators it computes.
        kernel: the symbol of the kernel, or COPY.
        reads: places of the inputs.
        writes: places of the outputs, then of the scratch where the kernel takes some.
        flops: floating-point operations.
        bytes: bytes of the operands.
        size: for a copy, how many bytes are copied.
    """

    name: str
    kernel: str
    reads: tuple[Place, ...]
    writes: tuple[Place, ...]
    flops: float
    bytes: float
    size: int = 0


@dataclass(frozen=True)
class Plan:
    """Everything a run does.

    Attributes:
        steps: in the order of execution.
        weights: constants in the order of their offsets in the blob.
        weight_offsets: where each constant lies in the blob, a multiple of 64.
        weight_bytes: size of the blob.
        arena_bytes: memory for intermediate results and scratch.
        lower_bound: the most bytes that live in one step; no arena could be smaller.
    """

    steps: tuple[Step, ...]
    weights: tuple[Weight, ...]
    weight_offsets: tuple[int, ...]
    weight_bytes: int
    arena_bytes: int
    lower_bound: int


def make_plan(found: Calls, kernels: Mapping[str, KernelFacts]) -> Plan:
    """Lay out memory for a sequence of kernel calls.

    A result that is an output is written straight into the caller's buffer, where later steps read it; outputs that
    are an input, a constant or the same value as an earlier output become copies at the end. Scratch of a kernel lives
    for one step, in the arena beside the values.

    Args:
        kernels: by the function name in the calls.
    """
    weight_offsets, weight_bytes = _pack([each.size for each in found.weights])
    places: dict[Value, Place] = {}
    copies: list[tuple[int, Value]] = []
    for index, value in enumerate(found.outputs):
        if value.kind == RESULT and value not in places and value not in found.inside:
            places[value] = Place(OUTPUT, index)
        else:
            copies.append((index, value))
    scratch = [kernels[call.function].scratch if call.function != COPY else 0 for call in found.calls]
    in_arena, lifetimes = _lifetimes(found, scratch, places)
    offsets, arena_bytes = place(lifetimes)
    places.update((value, Place(ARENA, offsets[index])) for value, index in in_arena.items())
    for value in _all_values(found):
        if value.kind == INPUT:
            places[value] = Place(INPUT, value.index)
        elif value.kind == WEIGHT:
            places[value] = Place(WEIGHT, weight_offsets[value.index])
    for value in found.inside:
        root, offset = root_of(value, found.inside)
        if root in places:
            places[value] = replace(places[root], inner=offset)
    scratch_places = iter(offsets[len(in_arena) :])
    steps = [
        _step(call, kernels, places, next(scratch_places) if bytes_ else None)
        for call, bytes_ in zip(found.calls, scratch, strict=True)
    ]
    steps += [_copy(places[value], Place(OUTPUT, index), value.size) for index, value in copies]
    return Plan(
        tuple(steps), tuple(found.weights), tuple(weight_offsets), weight_bytes, arena_bytes, lower_bound(lifetimes)
    )


def _pack(sizes: Sequence[int]) -> tuple[list[int], int]:
    offsets = []
    end = 0
    for size in sizes:
        offsets.append(aligned(end))
        end = offsets[-1] + size
    return offsets, aligned(end, ALIGNMENT)


def _all_values(found: Calls) -> Iterator[Value]:
    for call in found.calls:
        yield from (root_of(each, found.inside)[0] for each in (*call.reads, *call.writes))
    yield from found.outputs


def _lifetimes(
    found: Calls, scratch: Sequence[int], elsewhere: Mapping[Value, Place]
) -> tuple[dict[Value, int], list[Lifetime]]:
    """Return the results that go into the arena with their index, and all lifetimes: theirs, then the scratch's."""
    spans: dict[Value, tuple[int, int]] = {}
    for step, call in enumerate(found.calls):
        for value in (root_of(each, found.inside)[0] for each in (*call.writes, *call.reads)):
            if value.kind == RESULT and value not in elsewhere:
                spans[value] = (spans.get(value, (step, step))[0], step)
    lifetimes = [Lifetime(value.size, first, last) for value, (first, last) in spans.items()]
    lifetimes += [Lifetime(size, step, step) for step, size in enumerate(scratch) if size]
    return {value: index for index, value in enumerate(spans)}, lifetimes


def _step(
    call: KernelCall, kernels: Mapping[str, KernelFacts], places: Mapping[Value, Place], scratch: int | None
) -> Step:
    if call.function == COPY:
        return _copy(places[call.reads[0]], places[call.writes[0]], call.reads[0].size)
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
    )


def _copy(source: Place, destination: Place, size: int) -> Step:
    return Step("copy", COPY, (source,), (destination,), 0.0, 2.0 * size, size)
