"""Latency of a compiled library, alone or beside other runtimes, on the same inputs with the same number of threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ...runtime import load
from ...runtime.remote import RemoteModel
from ..index_bounds import index_bounds
from ..tensors import make_tensors
from .difference import relative_difference
from .interleave import Plan, Tick, interleave
from .peers import open_peer
from .statistics import Latency, Ratio, ratio_of, summarize

_OURS = "tilewright"
#: So many runs on a board are one message at the most.
_MOST_RUNS = 100_000


@dataclass(frozen=True)
class Standing:
    """One contender's result.

    Attributes:
        name: the runtime, with its version where it is a peer.
        ratio: how many times as long it takes as the library; None for the library itself.
        difference: the largest difference of its outputs from the library's, relative to their largest element.
    """

    name: str
    latency: Latency
    ratio: Ratio | None
    difference: float | None


@dataclass(frozen=True)
class Bench:
    """A measurement: the library first, then its peers in the order asked for."""

    model: str
    threads: int
    standings: tuple[Standing, ...]


def bench(
    library: Path,
    *,
    model: Path | None = None,
    against: Sequence[str] = (),
    threads: int = 1,
    plan: Plan | None = None,
    seed: int = 0,
    tick: Tick | None = None,
) -> Bench:
    """Measure a library, in turns with other runtimes that run its model.

    Args:
        model: the model the library was compiled from; needed when there are peers.
        against: names of peers.
        threads: for every contender; 0 for every processor.
        tick: told which part of the measurement is done, 0 to 1.

    Raises:
        UserError: the library cannot be loaded here, or a peer is unknown, not installed or refuses the model.
    """
    with ExitStack() as stack:
        ours = stack.enter_context(load(library, threads=threads))
        inputs = make_tensors(ours.inputs, "random", seed, index_bounds(model) if model else None)
        bound = ours.bind(inputs)
        peers = {name: open_peer(name, model, inputs, ours.threads) for name in against} if model else {}
        contenders: dict[str, Callable[[], object]] = {_OURS: bound}
        contenders |= {name: peer.run for name, peer in peers.items()}
        turns = interleave(contenders, plan or Plan(), tick)
        standings = [Standing(_OURS, summarize(_flat(turns[_OURS])), None, None)]
        for name, peer in peers.items():
            ratio = ratio_of(turns[_OURS], turns[name])
            apart = relative_difference(dict(bound.outputs.items()), peer.outputs())
            standings.append(Standing(peer.name, summarize(_flat(turns[name])), ratio, apart))
        return Bench(ours.name, ours.threads, tuple(standings))


def bench_remote(model: RemoteModel, *, plan: Plan, seed: int = 0) -> Bench:
    """Measure a library on a board: as many runs as the plan says, or as fill its time. Raises UserError."""
    inputs = make_tensors(model.inputs, "random", seed)
    _, warm = model.run(inputs, plan.warmup)
    repeat = plan.repeat or max(1, min(_MOST_RUNS, int(plan.seconds / max(min(warm), 1e-6))))
    _, seconds = model.run(inputs, repeat)
    return Bench(model.name, model.threads, (Standing(_OURS, summarize(seconds), None, None),))


def _flat(turns: list[list[float]]) -> list[float]:
    return [seconds for turn in turns for seconds in turn]
