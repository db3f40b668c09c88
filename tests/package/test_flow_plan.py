"""Plans with branches and loops: where values lie, how long they live, and the C that decides what runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tilewright.compiler.package.calls import (
    COPY,
    ELSE,
    END_IF,
    END_LOOP,
    IF,
    INPUT,
    LOOP,
    RESULT,
    Calls,
    Control,
    Inside,
    KernelCall,
    Move,
    Value,
    blocks_of,
)
from tilewright.compiler.package.emit_flow import emit_flow, operand
from tilewright.compiler.package.plan import ARENA, KernelFacts, Place, PlaceMove, Plan, make_plan
from tilewright.compiler.package.views import place_inside
from tilewright.rearrangement import Rearrangement, whole
from tilewright.workload import TensorType, Workload, attributes

FACTS = {"f": KernelFacts("k", flops=10.0, bytes=4.0)}


def result(index: int, size: int = 64) -> Value:
    return Value(RESULT, index, size)


def call(reads: list[Value], writes: list[Value], function: str = "f") -> KernelCall:
    return KernelCall(function, tuple(reads), tuple(writes))


X, CONDITION, COUNTER = Value(INPUT, 0, 64), Value(INPUT, 1, 1), result(0, 8)


def looped(*calls: KernelCall, most: int | None = None) -> list[Any]:
    return [Control(LOOP, counter=COUNTER, most=most), *calls, Control(END_LOOP, CONDITION, COUNTER)]


def plan_of(calls: list[Any], inside: Mapping[Value, Inside] | None = None) -> Plan:
    return make_plan(Calls(calls, outputs=(result(99),), inside=dict(inside or {})), FACTS)


def spaces(plan: Plan) -> list[set[int]]:
    """Return which 64 bytes of the arena each step touches."""
    return [{place.offset for place in (*step.reads, *step.writes) if place.space == ARENA} for step in plan.steps]


def test_what_a_loop_reads_from_outside_lives_for_all_of_it() -> None:
    a, b, c = result(1), result(2), result(3)
    plan = plan_of([call([X], [a]), *looped(call([a], [b]), call([b], [c])), call([X], [result(99)])])
    kept = plan.steps[0].writes[0].offset
    counter = next(turn.counter.offset for turn in plan.turns if turn.counter)
    first, second = plan.steps[1].writes[0].offset, plan.steps[2].writes[0].offset
    assert len({kept, counter, first, second}) == 4


def test_what_a_loop_leaves_behind_lives_from_its_beginning() -> None:
    a, b = result(1), result(2)
    plan = plan_of([*looped(call([X], [a]), call([a], [b])), call([b], [result(99)])])
    assert plan.steps[0].writes[0].offset != plan.steps[1].writes[0].offset


def test_branches_share_memory() -> None:
    a, b, c = result(1), result(2), result(3)
    arms = [Control(IF, CONDITION), call([X], [a]), call([a], [c]), Control(ELSE), call([X], [b]), call([b], [c])]
    plan = plan_of([*arms, Control(END_IF), call([c], [result(99)])])
    assert plan.steps[0].writes == plan.steps[2].writes
    assert plan.arena_bytes == 128


def test_costs_count_the_iterations_that_are_known() -> None:
    inner = [Control(LOOP, counter=result(5, 8), most=3), call([X], [result(1)]), Control(END_LOOP, None, result(5, 8))]
    plan = plan_of([*looped(*inner, most=4), call([X], [result(99)])])  # type: ignore[arg-type]
    assert [step.flops for step in plan.steps] == [120.0, 10.0]


def test_values_that_change_sides_move_with_the_counter() -> None:
    pair, start, now, after = result(1, 128), result(2), result(3), result(4)
    inside = {
        start: Inside(pair, 0),
        now: Inside(pair, 0, (Move(COUNTER, 64, 0),)),
        after: Inside(pair, 0, (Move(COUNTER, 64, 1),)),
    }
    plan = plan_of([call([X], [start], COPY), *looped(call([now], [after])), call([now], [result(99)])], inside)
    read, written = plan.steps[1].reads[0], plan.steps[1].writes[0]
    counter = next(turn.counter for turn in plan.turns if turn.counter)
    assert read.offset == written.offset == plan.steps[0].writes[0].offset
    assert (read.moves, written.moves) == ((PlaceMove(counter, 64, 0),), (PlaceMove(counter, 64, 1),))
    assert plan.steps[2].reads == (read,)
    assert not spaces(plan)[1] & {counter.offset}


def test_flow_is_c_over_runs_of_steps() -> None:
    arms = [Control(IF, CONDITION), call([X], [result(1)]), Control(ELSE), Control(END_IF)]
    plan = plan_of([call([X], [result(2)]), *looped(*arms, most=4), call([X], [result(99)])])  # type: ignore[arg-type]
    text = "\n".join(emit_flow(plan, {}))
    lines = [line.strip() for line in text.splitlines()]
    counter = next(f"COUNT({operand(turn.counter)})" for turn in plan.turns if turn.counter)
    assert lines[2] == "if ((code = tw_run_steps(run, frame, 0, 1))) return code;"
    assert [line for line in lines if line.startswith(("for", "if (TRUE", "} else", "going"))] == [
        f"for ({counter} = 0; going && {counter} < trips; ++{counter}) {{",
        "if (TRUE(INPUT(1))) {",
        "} else {",
        "going = TRUE(INPUT(1));",
    ]
    assert not list(emit_flow(plan_of([call([X], [result(99)])]), {}))


def test_operands_move() -> None:
    moves = (PlaceMove(Place(ARENA, 64), -16), PlaceMove(Place(ARENA, 128), 64, 1))
    assert operand(Place(ARENA, 256, 48, moves)) == (
        "ARENA(304 + -16 * COUNT(ARENA(64)) + 64 * ((COUNT(ARENA(128)) + 1) % 2))"
    )
    assert operand(Place(INPUT, 2, 0, moves[:1])) == "((char*)INPUT(2) + 0 + -16 * COUNT(ARENA(64)))"


def test_blocks_are_told_apart() -> None:
    calls = [call([], []), *looped(call([], []), Control(IF), call([], []), Control(ELSE), call([], []), Control(END_IF)), call([], [])]  # type: ignore[arg-type]  # fmt: skip # noqa: E501
    blocks = [block for each, block in zip(calls, blocks_of(calls), strict=True) if isinstance(each, KernelCall)]
    assert blocks[0] == blocks[4]
    assert len(set(blocks)) == 4


def test_a_join_in_a_loop_leaves_alone_what_was_made_outside() -> None:
    operand_type = TensorType((16,), "float32")
    moves = Rearrangement(0, (whole(32),))
    work = Workload(
        "rearrange", (operand_type,) * 2, (TensorType((32,), "float32"),), attributes(moves.attributes()), 2
    )
    outside, own, joined = result(1), result(2), result(3, 128)
    calls = [call([X], [outside]), *looped(call([outside], [own]), call([outside, own], [joined], "join"))]
    placed = place_inside(Calls(calls, outputs=()), {"join": work})
    assert own in placed.inside
    assert outside not in placed.inside
    assert [each.function for each in placed.calls if isinstance(each, KernelCall)] == ["f", "f", COPY]
