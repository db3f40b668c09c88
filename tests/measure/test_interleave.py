from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tilewright.compiler.measure import interleave as module
from tilewright.compiler.measure.interleave import Plan, interleave


class Clock:
    """Time that passes only while a contender runs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def __call__(self) -> float:
        return self.now

    def contender(self, name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            self.now += seconds
            self.log.append(name)

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(module, "_REST_SECONDS", 0.0)
    return Clock()


def test_latencies_are_those_of_each_contender(clock: Clock) -> None:
    runs = {"fast": clock.contender("fast", 0.001), "slow": clock.contender("slow", 0.004)}
    turns = interleave(runs, Plan(seconds=1.0), clock=clock)
    assert {round(each, 6) for turn in turns["fast"] for each in turn} == {0.001}
    assert {round(each, 6) for turn in turns["slow"] for each in turn} == {0.004}
    assert len(turns["fast"]) == len(turns["slow"]) > 5
    for each in turns.values():
        assert sum(map(sum, each)) == pytest.approx(1.0, rel=0.1)


def test_turns_alternate_and_the_order_rotates(clock: Clock) -> None:
    runs = {name: clock.contender(name, 0.05) for name in "abc"}
    interleave(runs, Plan(repeat=3, warmup=1), clock=clock)
    turns = clock.log[3 + 3 * 4 :]
    starts = [turns[index] for index in range(0, len(turns), 2)]
    assert turns[::2] == turns[1::2]
    assert starts[:9] == list("abcbcacab")


@pytest.mark.parametrize("repeat", [1, 7, 100])
def test_repeat_is_exact_for_everyone(clock: Clock, repeat: int) -> None:
    runs = {"a": clock.contender("a", 0.003), "b": clock.contender("b", 0.02)}
    turns = interleave(runs, Plan(repeat=repeat), clock=clock)
    assert [sum(map(len, each)) for each in turns.values()] == [repeat, repeat]


def test_a_run_longer_than_the_time_given_is_measured_once(clock: Clock) -> None:
    turns = interleave({"a": clock.contender("a", 9.0)}, Plan(seconds=0.5), clock=clock)
    assert [[round(each, 6) for each in turn] for turn in turns["a"]] == [[9.0]]


def test_every_turn_begins_untimed(clock: Clock) -> None:
    seconds = iter([5.0] + [0.01] * 10_000)

    def run() -> None:
        clock.now += next(seconds)

    turns = interleave({"a": run}, Plan(seconds=0.2, warmup=1), clock=clock)
    assert {round(each, 6) for turn in turns["a"] for each in turn} == {0.01}


def test_the_observer_hears_of_the_end(clock: Clock) -> None:
    heard: list[float] = []
    interleave({"a": clock.contender("a", 0.01)}, Plan(seconds=0.3), heard.append, clock)
    assert heard == sorted(heard)
    assert heard[-1] == 1.0


@pytest.mark.parametrize(
    ("spinning", "sleeps"), [([0, 0], 2), ([1, 1, 1, 0, 0], 5), ([1, 0, 1, 0, 0], 5), ([1] * 99, 20)]
)
def test_a_turn_waits_for_threads_that_spin_on(
    monkeypatch: pytest.MonkeyPatch, spinning: list[int], sleeps: int
) -> None:
    now, used, count = 0.0, 0.0, 0

    def sleep(seconds: float) -> None:
        nonlocal now, used, count
        now += seconds
        used += seconds * spinning[count]
        count += 1

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    monkeypatch.setattr(time, "process_time", lambda: used)
    module.rest()
    assert count == sleeps
