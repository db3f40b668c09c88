"""One cell: a model in a scheme on a number of threads; we, our own fp32 and the scheme's peers, in turns."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tilewright import runtime
from tilewright.compiler.measure.difference import relative_norm
from tilewright.compiler.measure.interleave import Plan, interleave
from tilewright.compiler.measure.peers import Peer, open_peer
from tilewright.compiler.measure.statistics import ratio_of, summarize

from .. import zoo_models as zoo_models  # adds its rows to MODELS
from ..cell import OURS, REFERENCE, Cell, Standing, admit
from ..isolation import Died, Failed, Tell, isolated
from ..models import MODELS, Arrays, BenchModel
from ..peers.peer import Subject
from .scheme import SCHEMES, Bar

OURS_FP32 = "tilewright fp32"


#: Norm of the difference, relative to the reference's, that is let pass: zeros would be as far off.
MOST_ERROR = 1.0


@dataclass(frozen=True)
class Order:
    """What to measure; picklable.

    Attributes:
        onnx: the model in single precision.
        library, plain: the model compiled in the scheme, and in single precision.
        folder: what the scheme and its peers made of the model.
    """

    scheme: str
    model: str
    onnx: Path
    library: Path
    plain: Path
    folder: Path
    threads: int
    seconds: float


@dataclass(frozen=True)
class LowCell:
    """What was measured.

    Attributes:
        cell: our standing and the peers'; an error is the norm of the difference from the outputs in single
            precision, relative to the norm of those.
        fp32: our own standing in single precision; its ratio is its time over ours.
        size: bytes of the library, and of the one in single precision.
    """

    scheme: str
    cell: Cell
    fp32: Standing
    size: tuple[int, int]

    @property
    def bar(self) -> Bar | None:
        """What must be reached."""
        return SCHEMES[self.scheme].bars.get((self.cell.model, self.cell.threads))


def measure(order: Order, log: Path) -> LowCell:
    """Measure in a process of its own on so many processors."""
    load = os.getloadavg()[0]
    try:
        found: LowCell = isolated(_measure, order, processors=order.threads, log=log)
    except (Died, Failed) as failure:
        return unmeasured(order.scheme, order.model, order.threads, str(failure))
    return replace(found, cell=replace(found.cell, load=load))


def unmeasured(scheme: str, model: str, threads: int, reason: str) -> LowCell:
    """Return the cell of a model that cannot be measured."""
    standings = tuple(Standing(name, failure=reason) for name in (OURS, *SCHEMES[scheme].peers))
    return LowCell(scheme, Cell(model, threads, standings, (), None, 0.0), Standing(OURS_FP32, failure=reason), (0, 0))


def _measure(order: Order, tell: Tell) -> LowCell:
    model, scheme = MODELS[order.model], SCHEMES[order.scheme]
    inputs = model.inputs()
    tell(f"running {REFERENCE} for reference outputs")
    reference = open_peer(REFERENCE, order.onnx, inputs, order.threads).outputs()
    subject = Subject(model, order.onnx, order.folder)
    standings: dict[str, Standing] = {}
    ready: dict[str, Peer] = {}
    with ExitStack() as stack:
        openers: dict[str, Callable[[], Peer]] = {
            OURS: lambda: _open(stack, order.library, inputs, order.threads),
            OURS_FP32: lambda: _open(stack, order.plain, inputs, order.threads),
        }
        openers |= {
            name: lambda prepare=prepare: prepare(subject, inputs, order.threads)  # type: ignore[misc]
            for name, prepare in scheme.peers.items()
        }
        for name, opener in openers.items():
            tell(name)
            standings[name], peer = admit(name, opener, lambda got: _error(model, got, reference), MOST_ERROR)
            if peer:
                ready[name] = peer
        tell("measuring")
        turns = interleave({name: peer.run for name, peer in ready.items()}, Plan(order.seconds)) if ready else {}
        for name, taken in turns.items():
            latency = summarize([seconds for turn in taken for seconds in turn])
            ratio = ratio_of(turns[OURS], taken) if OURS in turns and name != OURS else None
            standings[name] = replace(standings[name], latency=latency, ratio=ratio)
    plain = standings.pop(OURS_FP32)
    size = (order.library.stat().st_size, order.plain.stat().st_size)
    cell = Cell(order.model, order.threads, tuple(standings.values()), (), None, 0.0)
    return LowCell(order.scheme, cell, plain, size)


def _open(stack: ExitStack, library: Path, inputs: Arrays, threads: int) -> Peer:
    """Bind a library to output buffers that hold NaN, so that an element nobody writes is seen."""
    loaded = stack.enter_context(runtime.load(library, threads=threads))
    buffers = {spec.name: np.full(spec.static_shape, np.nan, spec.dtype) for spec in loaded.outputs}
    return Peer(OURS, loaded.bind(inputs, out=buffers), lambda: buffers)


def _error(model: BenchModel, got: Mapping[str, np.ndarray], reference: Arrays) -> float:
    """Return the largest relative norm of the difference of any part of the outputs."""
    if set(got) != set(reference) or any(got[name].size != each.size for name, each in reference.items()):
        return math.inf
    parts = model.parts({name: got[name].reshape(each.shape) for name, each in reference.items()})
    return max(relative_norm(parts[name], each) for name, each in model.parts(reference).items())
