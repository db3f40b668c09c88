"""Time several contenders in one process, taking turns, so that they share whatever disturbs the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Run = Callable[[], object]
Tick = Callable[[float], None]

#: Long enough for a contender to measure itself in its own caches, short enough for all to see the same machine.
_TURN_SECONDS = 0.05
_MOST_RUNS_A_TURN = 1000
#: Threads of a pool that spins after its last task (some do for 60 ms) would run beside the next contender.
_REST_SECONDS = 0.01
_MOST_RESTS = 20
_QUIET = 0.1


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Attributes:
        seconds: time for each contender, warm-up left out.
        repeat: exact number of runs for each contender; it replaces ``seconds``.
        warmup: untimed runs of each contender before the first turn, at least one.
    """

    seconds: float = 3.0
    repeat: int | None = None
    warmup: int = 3


def interleave(
    contenders: Mapping[str, Run], plan: Plan, tick: Tick | None = None, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[list[float]]]:
    """Run contenders in turns and return their latencies in seconds, a list for each turn.

    Every turn begins with an untimed run that brings the contender's data back into the caches; the order of the
    contenders rotates from turn to turn.

    Args:
        tick: told after every turn which part of the measurement is done, 0 to 1.
        clock: a monotonic clock in seconds.
    """
    names = list(contenders)
    for run in contenders.values():
        for _ in range(max(1, plan.warmup)):
            run()
    turns = _turns(contenders, plan, clock)
    taken: dict[str, list[list[float]]] = {name: [] for name in names}
    for index in range(max(len(each) for each in turns.values())):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            if len(names) > 1:
                rest()
            taken[name].append(_turn(contenders[name], turns[name][index], clock))
        if tick:
            tick((index + 1) / len(turns[names[0]]))
    return taken


def rest() -> None:
    """Sleep until this process's threads rest, too: twice in a row less than a tenth of a processor; 0.2 s at most.

    Once would not do: on a busy machine a spinning thread may just have been waiting for a processor.
    """
    quiet = 0
    for _ in range(_MOST_RESTS):
        used, began = time.process_time(), time.perf_counter()
        time.sleep(_REST_SECONDS)
        quiet = quiet + 1 if time.process_time() - used <= _QUIET * (time.perf_counter() - began) else 0
        if quiet == 2:
            return


def _turn(run: Run, count: int, clock: Callable[[], float]) -> list[float]:
    run()
    seconds = []
    for _ in range(count):
        start = clock()
        run()
        seconds.append(clock() - start)
    return seconds


def _turns(contenders: Mapping[str, Run], plan: Plan, clock: Callable[[], float]) -> dict[str, Sequence[int]]:
    """Return how many runs each contender makes in each turn; all have the same number of turns."""
    latency = {name: max(1e-9, min(_turn(run, 3, clock))) for name, run in contenders.items()}
    if plan.repeat:
        turns = max(1, min(plan.repeat, round(plan.repeat * max(latency.values()) / _TURN_SECONDS)))
        share, rest = divmod(plan.repeat, turns)
        return dict.fromkeys(contenders, [share + (index < rest) for index in range(turns)])
    counts = {name: max(1, min(_MOST_RUNS_A_TURN, round(_TURN_SECONDS / latency[name]))) for name in contenders}
    longest = max(counts[name] * latency[name] for name in contenders)
    turns = max(1, round(plan.seconds / longest))
    return {name: [counts[name]] * turns for name in contenders}
