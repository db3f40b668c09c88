"""Write a plan's control flow as C, and the places of operands, which may move with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from .calls import ELSE, END_IF, END_LOOP, IF, INPUT, LOOP, WEIGHT
from .plan import ARENA, OUTPUT, Place, PlaceMove, Plan, Turn

_SPACES = {INPUT: "INPUT", OUTPUT: "OUTPUT", ARENA: "ARENA", WEIGHT: "WEIGHT"}


def operand(place: Place) -> str:
    """Return the C expression of a place's address."""
    moves = "".join(f" + {_moved(each)}" for each in place.moves)
    if place.space in (ARENA, WEIGHT):
        return f"{_SPACES[place.space]}({place.offset + place.inner}{moves})"
    start = f"{_SPACES[place.space]}({place.offset})"
    return f"((char*){start} + {place.inner}{moves})" if place.inner or moves else start


def _moved(move: PlaceMove) -> str:
    counter = f"COUNT({operand(move.counter)})"
    return f"{move.step} * {counter}" if move.side is None else f"{move.step} * (({counter} + {move.side}) % 2)"


def emit_flow(plan: Plan, place_of: Mapping[str, int]) -> Iterator[str]:
    """Yield a function that runs the steps as a plan's control flow says, or those for a run's sizes.

    Nothing for a plan that has neither.

    Args:
        place_of: where in a run's sizes each symbol stands.
    """
    if not has_flow(plan):
        return
    if not plan.variants:
        yield from _function("flow", 0, len(plan.steps), plan.turns)
        return
    yield from _function("general_flow", 0, plan.general_steps, plan.turns)
    for index, each in enumerate(plan.variants):
        yield from _function(f"flow_{index}", each.first, each.end, each.turns)
    yield "static int32_t flow(struct tw_run* run, const struct tw_frame* frame) {"
    for index, each in enumerate(plan.variants):
        same = " && ".join(f"frame->sizes[{place_of[name]}] == {size}" for name, size in each.fixed)
        yield f"  if ({same}) return flow_{index}(run, frame);"
    yield "  return general_flow(run, frame);\n}\n"


def has_flow(plan: Plan) -> bool:
    """Return whether a run does something else than every step once, in order."""
    return bool(plan.turns or plan.variants)


def _function(name: str, first: int, end: int, turns: Sequence[Turn]) -> Iterator[str]:
    yield f"static int32_t {name}(struct tw_run* run, const struct tw_frame* frame) {{"
    yield "  int32_t code = 0;"
    yield from flow_lines(first, end, turns, _steps)
    yield "  return code;\n}\n"


def flow_lines(
    first: int, end: int, turns: Sequence[Turn], steps: Callable[[int, int], Iterator[str]]
) -> Iterator[str]:
    """Yield the statements of a part of the plan; ``steps`` gives those of the steps from one to before another."""
    for turn in turns:
        yield from steps(first, turn.before)
        first = turn.before
        yield from _TURNS[turn.kind](turn)
    yield from steps(first, end)


def _steps(first: int, end: int) -> Iterator[str]:
    if end > first:
        yield f"  if ((code = tw_run_steps(run, frame, {first}, {end}))) return code;"


def _if(turn: Turn) -> Iterator[str]:
    yield f"  if ({_true(turn.condition)}) {{"


def _else(_: Turn) -> Iterator[str]:
    yield "  } else {"


def _end(_: Turn) -> Iterator[str]:
    yield "  }"


def _loop(turn: Turn) -> Iterator[str]:
    """The trip count and the condition are read before the first iteration, whose calls may overwrite them."""
    limit = "INT64_MAX" if turn.most is None else f"{turn.most}"
    trips = limit if turn.trips is None else f"COUNT({operand(turn.trips)})"
    yield "  {"
    yield f"  const int64_t trips = {trips} < {limit} ? {trips} : {limit};"
    yield f"  int going = {_true(turn.condition)};"
    yield f"  for ({_counter(turn)} = 0; going && {_counter(turn)} < trips; ++{_counter(turn)}) {{"


def _end_loop(turn: Turn) -> Iterator[str]:
    yield f"  going = {_true(turn.condition)};"
    yield "  }\n  }"


def _counter(turn: Turn) -> str:
    assert turn.counter is not None
    return f"COUNT({operand(turn.counter)})"


def _true(condition: Place | None) -> str:
    return "1" if condition is None else f"TRUE({operand(condition)})"


_TURNS: dict[str, Callable[[Turn], Iterator[str]]] = {
    IF: _if,
    ELSE: _else,
    END_IF: _end,
    LOOP: _loop,
    END_LOOP: _end_loop,
}
