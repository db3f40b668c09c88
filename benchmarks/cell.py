"""One cell of the comparison: a model on a number of threads, Tilewright and its peers in turns in one process."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tilewright import runtime
from tilewright.compiler.measure.ceiling import Ceiling, measure_ceiling
from tilewright.compiler.measure.difference import relative_difference
from tilewright.compiler.measure.interleave import Plan, interleave
from tilewright.compiler.measure.peers import Peer, open_peer
from tilewright.compiler.measure.profile import ProfiledStep, judge
from tilewright.compiler.measure.statistics import Latency, Ratio, ratio_of, summarize

from . import zoo_models as zoo_models  # adds its rows to MODELS
from .isolation import Died, Failed, Tell, isolated, sentence
from .models import MODELS, Arrays, BenchModel
from .peers import PEERS, Subject

OURS = "tilewright"
REFERENCE = "onnxruntime"
#: Beyond this a contender does not compute the model. Peers are given room for the approximate activations that some
#: of them compute even at their highest precision (errors of 1e-3): what their user would run is what counts.
MOST_ERROR = 1e-2
_LEAST_PROFILED_RUNS = 5
_MEASURING = "measuring"


@dataclass(frozen=True)
class Order:
    """What to measure; picklable.

    Attributes:
        model: a name among ``MODELS``.
        library: the compiled model; None where it could not be compiled.
        folder: for what the peers' converters make.
        seconds: for each contender.
        peers: names of peers, without those that are known to crash.
    """

    model: str
    onnx: Path
    library: Path | None
    folder: Path
    threads: int
    seconds: float
    peers: tuple[str, ...]


@dataclass(frozen=True)
class Standing:
    """One contender's result.

    Attributes:
        contender: "tilewright" or a peer's name.
        version: the runtime with its version; "" where it was not made ready.
        latency: None where it was not measured.
        ratio: how many times as long it takes as Tilewright; None for Tilewright, or where one of the two is missing.
        error: the largest difference of its outputs from the reference's, relative to their largest element.
        failure: why it is not measured; "" where it is.
    """

    contender: str
    version: str = ""
    latency: Latency | None = None
    ratio: Ratio | None = None
    error: float | None = None
    failure: str = ""


@dataclass(frozen=True)
class Cell:
    """What was measured.

    Attributes:
        standings: Tilewright's first, then the peers' in the order asked for.
        steps: Tilewright's steps, heaviest first; empty where it is not measured.
        ceiling: of the machine in the same process; None where nothing is compared with it.
        load: processes that wanted to run before it began, averaged over a minute.
    """

    model: str
    threads: int
    standings: tuple[Standing, ...]
    steps: tuple[ProfiledStep, ...]
    ceiling: Ceiling | None
    load: float

    @property
    def ours(self) -> Standing:
        """Tilewright's standing."""
        return self.standings[0]

    @property
    def best_peer(self) -> Standing | None:
        """The fastest peer that was measured."""
        measured = [each for each in self.standings[1:] if each.latency]
        return min(measured, key=lambda each: each.latency.median if each.latency else math.inf, default=None)


def measure_cell(order: Order, log: Path) -> Cell:
    """Measure in a process of its own, and again without a contender that ends the process."""
    crashed: dict[str, str] = {}
    load = os.getloadavg()[0]
    while True:
        peers = tuple(name for name in order.peers if name not in crashed)
        left = replace(order, peers=peers, library=None if OURS in crashed else order.library)
        try:
            cell: Cell = isolated(_measure, left, processors=order.threads, log=log)
            break
        except Died as death:
            if death.stage in crashed or death.stage not in (OURS, *peers):
                cell = _failed(order, f"while {death.stage or 'starting'}: {death}")
                break
            crashed[death.stage] = str(death)
        except Failed as failure:
            cell = _failed(order, str(failure))
            break
    found = {each.contender: each for each in cell.standings}
    found |= {name: Standing(name, failure=reason) for name, reason in crashed.items()}
    return replace(cell, standings=tuple(found[name] for name in (OURS, *order.peers)), load=load)


def _failed(order: Order, reason: str) -> Cell:
    standings = tuple(Standing(name, failure=reason) for name in (OURS, *order.peers))
    return Cell(order.model, order.threads, standings, (), None, 0.0)


def _measure(order: Order, tell: Tell) -> Cell:
    """Measure in this process; ``tell`` hears the name of each contender before its code runs."""
    model = MODELS[order.model]
    inputs = model.inputs()
    tell(f"running {REFERENCE} for reference outputs")
    reference = open_peer(REFERENCE, order.onnx, inputs, order.threads).outputs()
    standings: dict[str, Standing] = {}
    ready: dict[str, Peer] = {}
    with ExitStack() as stack:
        openers: dict[str, Callable[[], Peer]] = {OURS: lambda: _open_ours(stack, order, inputs)}
        order.folder.mkdir(parents=True, exist_ok=True)
        subject = Subject(model, order.onnx, order.folder)
        openers |= {name: _opener(name, subject, inputs, order.threads) for name in order.peers}
        for name, opener in openers.items():
            tell(name)
            standings[name], peer = admit(name, opener, lambda got: _error(model, got, reference), MOST_ERROR)
            if peer:
                ready[name] = peer
        tell(_MEASURING)
        turns = interleave({name: peer.run for name, peer in ready.items()}, Plan(order.seconds)) if ready else {}
        for name, peer in ready.items():
            standings[name] = _stand(standings[name], turns, _error(model, peer.outputs(), reference))
        tell("profiling")
        ceiling = measure_ceiling(order.threads) if OURS in ready else None
        steps = _profile(order, inputs, ceiling) if ceiling else ()
    return Cell(order.model, order.threads, tuple(standings.values()), steps, ceiling, 0.0)


def _opener(name: str, subject: Subject, inputs: Arrays, threads: int) -> Callable[[], Peer]:
    return lambda: PEERS[name](subject, inputs, threads)


def _open_ours(stack: ExitStack, order: Order, inputs: Arrays) -> Peer:
    """Bind the library to output buffers that hold NaN, so that an element nobody writes is seen."""
    if order.library is None:
        raise RuntimeError("it was not compiled")
    library = stack.enter_context(runtime.load(order.library, threads=order.threads))
    buffers = {spec.name: np.full(spec.static_shape, np.nan, spec.dtype) for spec in library.outputs}
    return Peer(OURS, library.bind(inputs, out=buffers), lambda: buffers)


def admit(
    name: str, opener: Callable[[], Peer], error_of: Callable[[Mapping[str, np.ndarray]], float], most: float
) -> tuple[Standing, Peer | None]:
    """Return a contender that runs and computes what the reference does, or why there is none.

    Args:
        error_of: how far outputs lie from the reference's.
        most: the largest error that is let pass.
    """
    try:
        peer = opener()
        peer.run()
        error = error_of(peer.outputs())
    except ImportError as missing:
        return Standing(name, failure=f"not installed: {missing}"), None
    except Exception as refusal:  # each runtime has exception classes of its own, without a common base
        return Standing(name, failure=sentence(refusal)), None
    if not error <= most:
        wrong = f"its outputs lie {error:.1e} from {REFERENCE}'s, relative to theirs"
        return Standing(name, peer.name, error=error if math.isfinite(error) else None, failure=wrong), None
    return Standing(name, peer.name, error=error), peer


def _error(model: BenchModel, got: Mapping[str, np.ndarray], reference: Arrays) -> float:
    """Return the largest difference of any part of the outputs; infinite where one is missing or of another size.

    Only the number of elements must agree: some runtimes drop axes of one element.
    """
    if set(got) != set(reference) or any(got[name].size != each.size for name, each in reference.items()):
        return math.inf
    shaped = {name: got[name].reshape(each.shape) for name, each in reference.items()}
    return relative_difference(model.parts(shaped), model.parts(reference))


def _stand(standing: Standing, turns: Mapping[str, list[list[float]]], error: float) -> Standing:
    """Return a standing with what was measured; ``error`` is that of the last timed run."""
    own = turns[standing.contender]
    latency = summarize([seconds for turn in own for seconds in turn])
    ratio = ratio_of(turns[OURS], own) if OURS in turns and standing.contender != OURS else None
    worst = max(standing.error or 0.0, error)
    return replace(standing, latency=latency, ratio=ratio, error=worst)


def _profile(order: Order, inputs: Arrays, ceiling: Ceiling) -> tuple[ProfiledStep, ...]:
    assert order.library is not None
    with runtime.load(order.library, threads=order.threads) as library:
        once = sum(step.seconds for step in library.profile(inputs, repeat=1))
        runs = max(_LEAST_PROFILED_RUNS, min(200, round(order.seconds / 2 / max(once, 1e-6))))
        return judge(order.model, runs, library.profile(inputs, repeat=runs), ceiling).steps
