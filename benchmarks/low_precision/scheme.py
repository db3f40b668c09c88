"""What a row of the comparison is: a precision, how its models are made, and who computes them beside us."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilewright.registry import Registry

from ..peers.peer import Prepare, Subject

#: What must be reached, by model and threads.
Bars = Mapping[tuple[str, int], "Bar"]


@dataclass(frozen=True)
class Bar:
    """What must be reached with a model on a number of threads.

    Attributes:
        speed: the least speed against the fastest peer.
        own: the least speed against our own library in single precision; 0 for none.
        size: the largest size of the library, relative to the one in single precision.
    """

    speed: float
    own: float = 0.0
    size: float = 1.0


def unchanged(subject: Subject) -> Path:
    """Return the model in single precision."""
    return subject.onnx


@dataclass(frozen=True)
class Scheme:
    """A precision to compare in.

    Attributes:
        name: the word by which ``--schemes`` asks for it.
        description: what is low, in a few words.
        options: of ``tilewright.compile``.
        peers: runtimes by name; ``subject.onnx`` is the model in single precision, ``subject.folder`` holds what
            ``write`` left there.
        bars: also say which models are measured by default.
        write: returns the file to compile; called once for each model, in a process of its own, before any peer.
        as_exact: whether our outputs may lie no further from single precision than the fastest peer's do.
    """

    name: str
    description: str
    options: Mapping[str, Any]
    peers: Mapping[str, Prepare]
    bars: Bars
    write: Callable[[Subject], Path] = field(default=unchanged)
    as_exact: bool = True

    @property
    def models(self) -> tuple[str, ...]:
        """The models with bars."""
        return tuple(dict.fromkeys(model for model, _ in self.bars))


#: Rows by name.
SCHEMES: Registry[Scheme] = Registry("scheme")
