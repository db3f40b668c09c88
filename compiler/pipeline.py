"""The named phases between a frontend and the package, readable as a table of contents."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..targets.target import Target

if TYPE_CHECKING:
    from tvm.ir import IRModule


@dataclass(frozen=True)
class PhaseContext:
    """What a phase may read besides the module.

    Attributes:
        target: the machine to compile for.
        optimization: 0 gives each operator a kernel of its own, 1 fuses operators, 2 also chooses layouts and packs
            weights, 3 also the algorithms of ``accuracy``.
        accuracy: "exact", "default" or "fast": which algorithms may be chosen.
        precision: "fp32" leaves element types as they are; "bf16" and "fp16" store float32 tensors in 16 bits.
        origins: the model's node for the name of each variable, as the importer gives it.
        keep_fp32: nodes that a low precision leaves out, with the variables they made.
        in_floats: takes variables computed in floats from quantized operands, each with the reason.
    """

    target: Target
    optimization: int = 3
    accuracy: str = "default"
    precision: str = "fp32"
    origins: Mapping[str, str] = field(default_factory=dict)
    keep_fp32: Mapping[str, frozenset[str]] = field(default_factory=dict)
    in_floats: list[tuple[str, str]] = field(default_factory=list)

    def origins_in_floats(self) -> list[tuple[str, str]]:
        """Return the model's nodes that are computed in floats from quantized operands, each with the reason."""
        return [(self.origins.get(name, name), reason) for name, reason in self.in_floats]


@dataclass(frozen=True)
class Phase:
    """One named phase.

    Attributes:
        name: as ``--dump`` and ``--stop-after`` take it.
        description: one line for people.
        run: from the module before to the module after.
        check: the executable spec: raises AssertionError when the module is not what the phase promises.
    """

    name: str
    description: str
    run: Callable[[IRModule, PhaseContext], IRModule]
    check: Callable[[IRModule, PhaseContext], None]


@dataclass(frozen=True)
class PhaseEvent:
    """Told to an observer after each phase: its name, its seconds, and the module it left (None once there is none)."""

    name: str
    seconds: float
    module: IRModule | None


Observer = Callable[[PhaseEvent], None]


def run_phases(module: IRModule, phases: Sequence[Phase], context: PhaseContext, observe: Observer) -> IRModule:
    """Run phases in order, telling the observer after each."""
    for phase in phases:
        start = time.perf_counter()
        module = phase.run(module, context)
        observe(PhaseEvent(phase.name, time.perf_counter() - start, module))
    return module
