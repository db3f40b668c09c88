"""The plan, checked by playing it: every byte of memory remembers who wrote it last."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tilewright.compiler.package.calls import INPUT, RESULT, WEIGHT, Calls, KernelCall, Value, Weight
from tilewright.compiler.package.plan import ARENA, COPY, OUTPUT, KernelFacts, Place, Plan, make_plan

_POISON = -1


@dataclass
class Graph:
    """A random network: calls, the scratch of each kernel, and how many inputs there are."""

    found: Calls
    kernels: dict[str, KernelFacts] = field(default_factory=dict)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    sizes = st.integers(1, 700)
    values = [Value(INPUT, index, draw(sizes)) for index in range(draw(st.integers(1, 3)))]
    weights = [Weight(draw(sizes), f"{index}", lambda: np.zeros(1)) for index in range(draw(st.integers(0, 3)))]
    values += [Value(WEIGHT, index, each.size) for index, each in enumerate(weights)]
    graph = Graph(Calls(weights=weights))
    results = 0
    for index in range(draw(st.integers(0, 14))):
        reads = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
        in_place = tuple(draw(st.sets(st.integers(0, len(reads) - 1))))
        size = reads[in_place[0]].size if in_place else draw(sizes)
        count = 1 if in_place else draw(st.integers(1, 2))
        writes = tuple(Value(RESULT, results + each, size) for each in range(count))
        results += len(writes)
        values += writes
        graph.found.calls.append(KernelCall(f"f{index}", tuple(reads), writes))
        graph.kernels[f"f{index}"] = KernelFacts(f"k{index}", draw(st.sampled_from([0, 64, 900])), in_place=in_place)
    graph.found.outputs = tuple(draw(st.lists(st.sampled_from(values), min_size=1, max_size=5)))
    return graph


class Memory:
    """Buffers in which each byte holds the number of the value written there, or poison."""

    def __init__(self, graph: Graph, plan: Plan) -> None:
        self.tags: dict[Value, int] = {}
        self.spaces: dict[tuple[str, int], list[int]] = {(ARENA, 0): [_POISON] * plan.arena_bytes}
        self.spaces[WEIGHT, 0] = [_POISON] * plan.weight_bytes
        for index, value in enumerate(graph.found.outputs):
            self.spaces[OUTPUT, index] = [_POISON] * value.size
        for call in graph.found.calls:
            for value in (*call.reads, *call.writes):
                self._preset(value, plan)
        for value in graph.found.outputs:
            self._preset(value, plan)

    def _preset(self, value: Value, plan: Plan) -> None:
        tag = self.tags.setdefault(value, len(self.tags))
        if value.kind == INPUT:
            self.spaces[INPUT, value.index] = [tag] * value.size
        elif value.kind == WEIGHT:
            self.write(Place(WEIGHT, plan.weight_offsets[value.index]), value.size, tag)

    def _at(self, place: Place) -> tuple[list[int], int]:
        indexed = place.space in (INPUT, OUTPUT)
        return self.spaces[place.space, place.offset if indexed else 0], 0 if indexed else place.offset

    def read(self, place: Place, size: int) -> set[int]:
        space, start = self._at(place)
        assert start + size <= len(space), "a read beyond the buffer"
        return set(space[start : start + size])

    def write(self, place: Place, size: int, tag: int) -> None:
        space, start = self._at(place)
        assert start + size <= len(space), "a write beyond the buffer"
        space[start : start + size] = [tag] * size


@given(graphs())
def test_every_step_reads_what_was_meant_for_it(graph: Graph) -> None:
    plan = make_plan(graph.found, graph.kernels)
    memory = Memory(graph, plan)
    for step, call in zip(plan.steps, graph.found.calls, strict=False):
        scratch = graph.kernels[call.function].scratch
        if scratch:
            memory.write(step.writes[-1], scratch, _POISON)
        in_place = [at for at in graph.kernels[call.function].in_place if step.reads[at] == step.writes[0]]
        for at in in_place:
            assert memory.read(step.reads[at], call.reads[at].size) == {memory.tags[call.reads[at]]}
        for place, value in zip(step.writes[: len(call.writes)], call.writes, strict=True):
            memory.write(place, value.size, memory.tags[value])
        # A kernel may write its results and scratch before it has read all of its inputs.
        for at, (place, value) in enumerate(zip(step.reads, call.reads, strict=True)):
            if at not in in_place:
                assert memory.read(place, value.size) == {memory.tags[value]}
    for step in plan.steps[len(graph.found.calls) :]:
        assert step.kernel == COPY
        (tag,) = memory.read(step.reads[0], step.size)
        memory.write(step.writes[0], step.size, tag)
    for index, value in enumerate(graph.found.outputs):
        assert memory.read(Place(OUTPUT, index), value.size) == {memory.tags[value]}


@given(graphs())
def test_arena_is_bounded(graph: Graph) -> None:
    plan = make_plan(graph.found, graph.kernels)
    assert plan.lower_bound <= plan.arena_bytes
    assert all(offset % 64 == 0 for offset in plan.weight_offsets)


def test_a_sum_lies_in_the_memory_of_its_residual() -> None:
    x, residual, branch, y = Value(INPUT, 0, 640), *(Value(RESULT, index, 640) for index in range(3))
    calls = [KernelCall("f", (x,), (residual,)), KernelCall("f", (residual,), (branch,))]
    calls += [KernelCall("g", (branch, residual), (y,)), KernelCall("f", (y,), (Value(RESULT, 3, 640),))]
    found = Calls(calls, outputs=(Value(RESULT, 3, 640),))
    plan = make_plan(found, {"f": KernelFacts("f"), "g": KernelFacts("g", in_place=(1,))})
    assert plan.arena_bytes == 2 * 640
    assert plan.steps[2].writes[0] == plan.steps[2].reads[1]


def test_an_output_is_written_in_place_and_repeated_outputs_are_copied() -> None:
    x, y = Value(INPUT, 0, 40), Value(RESULT, 0, 40)
    weight = Value(WEIGHT, 0, 8)
    found = Calls([KernelCall("f", (x,), (y,))], [Weight(8, "", lambda: np.zeros(2, "float32"))], (y, x, y, weight))
    plan = make_plan(found, {"f": KernelFacts("k", scratch=0, flops=5.0, bytes=80.0)})
    assert plan.arena_bytes == 0
    assert [(step.kernel, step.reads, step.writes, step.size) for step in plan.steps] == [
        ("k", (Place(INPUT, 0),), (Place(OUTPUT, 0),), 0),
        (COPY, (Place(INPUT, 0),), (Place(OUTPUT, 1),), 40),
        (COPY, (Place(OUTPUT, 0),), (Place(OUTPUT, 2),), 40),
        (COPY, (Place(WEIGHT, 0),), (Place(OUTPUT, 3),), 8),
    ]
    assert (plan.steps[0].flops, plan.steps[0].bytes) == (5.0, 80.0)
