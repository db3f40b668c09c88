"""The registry of schedule templates: who makes the kernel for a workload on a target."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..atoms import Undecided
from ..knobs import Knobs, Value
from ..targets.target import Target
from ..workload import Workload
from .symbols import with_symbols
from .widening import is_low, narrowed, widened

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Build = Callable[[Workload, Target, Knobs], "PrimFunc"]
ChooseLayouts = Callable[[Workload, Target], Workload]
Cost = Callable[[Workload, Target], float]

_HOMES = ("generic", "cpu", "gpu")
_GPU_HOME = "gpu"

#: Element types that a kernel whose epilogue ends in them writes as it would float32.
BYTES = frozenset({"int8", "uint8"})

#: The architectures whose kernels are C functions over caches and vector registers.
CPUS = ("x86", "arm", "riscv")

#: How far results may be from the sums in the model's order, the strictest first: "exact" reorders sums only, "default"
#: allows algorithms that lose a few bits (an error under 1e-4 of the largest output), "fast" whatever is fastest.
ACCURACIES = ("exact", "default", "fast")


class NotApplicable(Exception):
    """A template does not make this workload; the next one in line is asked."""


@dataclass(frozen=True)
class Template:
    """A way to make one family of kernels.

    Attributes:
        name: the function's name.
        family: the workload family it makes.
        arch: the target's architectures, empty for every one.
        needs: CPU features without which it does not apply.
        dtypes: element types that it takes for the anchor's operands and the first output, which an epilogue may also
            narrow to bytes; empty for all.
        build: makes the scheduled PrimFunc; its parameters are the workload's inputs, then its outputs, as stored.
        layouts: returns the workload with the operand layouts this template wants, or raises NotApplicable.
        cost: cycles on one core that the workload, with those layouts, is estimated to take; what templates compete by.
        accuracy: the strictest of ACCURACIES under which the template may be chosen.
        symbolic: whether it takes shapes that only a run knows.
        home: the folder it lives in: those of "gpu" make threads, all others loops.
    """

    name: str
    family: str
    arch: tuple[str, ...]
    needs: frozenset[str]
    dtypes: frozenset[str]
    build: Build
    layouts: ChooseLayouts | None
    cost: Cost | None
    accuracy: str
    symbolic: bool
    home: str

    def fits(self, work: Workload, target: Target) -> bool:
        """Return whether family, target, element type and shapes allow this template."""
        return (
            self.family == work.family
            and (self.home == _GPU_HOME) == target.is_gpu
            and (not self.arch or target.arch in self.arch)
            and self.needs <= target.features
            and (not self.dtypes or self.dtypes.issuperset(_types(work)))
            and (self.symbolic or work.is_static)
        )

    @property
    def specificity(self) -> tuple[bool, int, bool]:
        """The key by which the most specific template comes last."""
        return (bool(self.arch), len(self.needs), bool(self.dtypes))


def _types(work: Workload) -> set[str]:
    operands = {each.dtype for each in work.inputs[: work.anchor_arity]}
    narrowed = work.epilogue is not None and work.outputs[0].dtype in BYTES
    return operands if narrowed else operands | {work.outputs[0].dtype}


_TEMPLATES: list[Template] = []


def template(
    family: str,
    *,
    arch: str | tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    dtypes: tuple[str, ...] = (),
    layouts: ChooseLayouts | None = None,
    cost: Cost | None = None,
    accuracy: str = "exact",
    symbolic: bool = False,
) -> Callable[[Build], Build]:
    """Register the decorated function as a template."""

    def decorate(build: Build) -> Build:
        name = getattr(build, "__name__", family)
        row = Template(
            name,
            family,
            (arch,) if isinstance(arch, str) else arch,
            frozenset(needs),
            frozenset(dtypes),
            build,
            layouts,
            cost,
            accuracy,
            symbolic,
            build.__module__.split(".")[-2],
        )
        _TEMPLATES.append(row)
        return build

    return decorate


def candidates(work: Workload, target: Target) -> list[Template]:
    """Return the templates that fit, the most specific first; none when the epilogue's operators are not all known."""
    if not _computable(work):
        return []
    for home in _HOMES:
        importlib.import_module(f".{home}", __package__)
    fitting = [each for each in _TEMPLATES if each.fits(work, target)]
    return sorted(fitting, key=lambda each: each.specificity, reverse=True)


def _computable(work: Workload) -> bool:
    """Return whether the scalar operations that every template's programs are made of have the programs' types."""
    # Imported here, because the scalar operations import TVM and the command line's help reads ACCURACIES.
    from .scalar import readable, supported

    operands = work.inputs[work.anchor_arity :] if work.epilogue else ()
    programs = (*work.inner, *([work.epilogue] if work.epilogue else []))
    steps = [step for program in programs for step in program.steps]
    return all(readable(each.dtype) for each in operands) and all(supported(each.op, each.dtype) for each in steps)


def choose_layouts(work: Workload, target: Target, accuracy: str = "default") -> Workload | None:
    """Return the workload stored as the cheapest template wants it; None when no template has a wish.

    Templates that state no cost are taken in order of specificity. Blocks of channels are for vectors: a target without
    them stores rows.
    """
    if target.lanes() == 1:
        return None
    allowed = ACCURACIES[: ACCURACIES.index(accuracy) + 1]
    wishes: list[tuple[float, Workload]] = []
    wide = widened(work)
    for each in candidates(wide, target):
        if each.layouts is None or each.accuracy not in allowed:
            continue
        try:
            wish = each.layouts(wide, target)
        except (NotApplicable, Undecided):
            continue
        wishes.append((each.cost(wish.at_bounds(), target) if each.cost else 0.0, wish))
    return narrowed(min(wishes, key=lambda wish: wish[0])[1], work) if wishes else None


def build_kernel(
    work: Workload, target: Target, overrides: Mapping[str, Value] | None = None, accuracy: str = "exact"
) -> PrimFunc | None:
    """Return the kernel of the most specific template that makes this workload; None when there is none.

    Args:
        accuracy: which templates without a wish for layouts may be taken; the others were chosen by their layouts.
    """
    # Imported here, because it imports TVM and the command line's help reads ACCURACIES.
    from .low_precision import with_instructions

    wide = widened(work)
    allowed = ACCURACIES[: ACCURACIES.index(accuracy) + 1]
    for each in candidates(wide, target):
        if each.layouts is None and each.accuracy not in allowed:
            continue
        try:
            kernel = each.build(wide, target, Knobs(overrides))
            kernel = (kernel if work.is_static else with_symbols(kernel)).with_attr("tilewright.template", each.name)
            return with_instructions(kernel, target) if is_low(work) else kernel
        except (NotApplicable, Undecided):
            continue
    return None
