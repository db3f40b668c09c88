"""The compiler's one entry: a request in, an artifact out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..input_shapes import specialized
from ..registry import nearest
from ..schedules.template import ACCURACIES
from ..targets.database import load_target
from .frontends import LiveModel, ModelSource, import_model
from .package.artifact import Artifact
from .phases import PHASES
from .pipeline import Observer, PhaseContext, PhaseEvent, run_phases
from .precision import PRECISIONS, effective_precision, kept_in_fp32

if TYPE_CHECKING:
    from ..targets.target import Target
    from .package.variants import Variant

FORMATS = ("so", "static", "obj", "c")
#: Every phase in order, with the line that ``--help`` shows.
PHASE_NAMES = ("import", "simplify", "precision", "fuse", "layout", "schedule", "plan", "package")


@dataclass(frozen=True)
class CompileRequest:
    """What to compile, for what, and how.

    Attributes:
        model: the model file.
        target: a target's name, the path of a target file, or "host".
        input_shapes: shapes that replace symbolic or declared ones, by input name: numbers, symbols with bounds
            ("batch<=32") and expressions over symbols ("past + 1").
        format: "so" (shared library), "static" (archive and header), "obj" (one object and header) or "c" (plan,
            runtime and kernel objects as files).
        optimization: 0 to 3.
        accuracy: "exact" (sums are reordered only), "default" (Winograd, Strassen: errors under 1e-4 of the largest
            output) or "fast".
        jobs: how many processes compile kernels; 0 for one per processor.
        precision: "fp32" computes in the model's element types, "bf16" and "fp16" store float32 tensors in 16 bits.
        keep_fp32: nodes that a low precision leaves in fp32, by their names in the model.
        strict: refuse a precision that the target lacks, instead of computing in fp32.
        name: the model's name inside the library; None for the file's.
        stop_after: the last phase to run; None for all.
        specialize: sizes of symbols ("batch": (1, 8)) for which variants of the model go into the same library, one for
            each combination; a run whose sizes they are takes them.
        module: "path.py:factory", which makes the module whose weights a PyTorch state dict holds.
        live: a module in memory, in place of the file; ``model`` is its name.
        signature: which signature of a TensorFlow SavedModel; None for its only one.
        outputs: nodes where a frozen TensorFlow graph ends; empty for those that nothing follows.
        toolchain: the toolchain that links ("zig", "zig:musl", "aarch64-linux-gnu"), in place of the target's.
    """

    model: Path
    target: str = "host"
    input_shapes: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)
    format: str = "so"
    optimization: int = 3
    accuracy: str = "default"
    jobs: int = 0
    precision: str = "fp32"
    strict: bool = False
    name: str | None = None
    stop_after: str | None = None
    module: str | None = None
    live: LiveModel | None = None
    specialize: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    signature: str | None = None
    outputs: tuple[str, ...] = ()
    keep_fp32: tuple[str, ...] = ()
    toolchain: str | None = None

    @property
    def source(self) -> ModelSource:
        """What the frontends are asked for."""
        return ModelSource(self.model, self.input_shapes, self.module, self.live, self.signature, self.outputs)


def compile_model(request: CompileRequest, observe: Observer | None = None) -> Artifact | None:
    """Compile; the observer hears of every phase. Returns None when ``stop_after`` names a phase before the last.

    Raises UserError for whatever the user can mend.
    """
    from .package.build import build

    times: list[tuple[str, float]] = []

    def note(event: PhaseEvent) -> None:
        times.append((event.name, event.seconds))
        if observe:
            observe(event)

    _refuse_unknown_words(request)
    target = load_target(request.target)
    start = time.perf_counter()
    imported = import_model(request.source)
    note(PhaseEvent("import", time.perf_counter() - start, imported.module))
    last = PHASE_NAMES.index(request.stop_after) if request.stop_after else len(PHASE_NAMES)
    phases = [phase for phase in PHASES if PHASE_NAMES.index(phase.name) <= last]
    context = _context(request, target, imported.origins)
    module = run_phases(imported.module, phases, context, note)
    if last < PHASE_NAMES.index("plan"):
        return None
    start = time.perf_counter()
    variants = _variants(request, target)
    if variants:
        note(PhaseEvent("specialize", time.perf_counter() - start, None))
    artifact = build(
        module,
        imported.signature,
        name=request.name or imported.name,
        target=target,
        format=request.format,
        jobs=request.jobs,
        observe=note,
        variants=variants,
        toolchain=request.toolchain,
        in_floats=context.origins_in_floats(),
    )
    artifact.report = replace(artifact.report, phases=tuple(times))
    return None if request.stop_after == "plan" else artifact


def _context(request: CompileRequest, target: Target, origins: Mapping[str, str]) -> PhaseContext:
    precision = effective_precision(request.precision, target, request.strict)
    kept = kept_in_fp32(request.keep_fp32, origins)
    return PhaseContext(target, request.optimization, request.accuracy, precision, origins, kept)


def _variants(request: CompileRequest, target: Target) -> list[Variant]:
    """Return the model scheduled for every combination of the sizes to specialize for."""
    from .package.variants import Variant

    made = []
    for sizes in itertools.product(*request.specialize.values()) if request.specialize else ():
        fixed = dict(zip(request.specialize, sizes, strict=True))
        source = replace(request.source, input_shapes=specialized(request.input_shapes, fixed))
        imported = import_model(source)
        context = _context(request, target, imported.origins)
        module = run_phases(imported.module, PHASES, context, lambda event: None)
        made.append(Variant(tuple(fixed.items()), module))
    return made


def _refuse_unknown_words(request: CompileRequest) -> None:
    for kind, word, known in (
        ("phase", request.stop_after, PHASE_NAMES),
        ("format", request.format, FORMATS),
        ("accuracy", request.accuracy, ACCURACIES),
        ("precision", request.precision, PRECISIONS),
    ):
        if word is not None and word not in known:
            raise UserError(f"unknown {kind} '{word}'{nearest(word, list(known))}: it is one of {', '.join(known)}")
    if request.optimization not in range(4):
        raise UserError(f"unknown optimization level {request.optimization}: it is one of 0, 1, 2, 3")


def compile(  # noqa: A001 - the word users expect
    model: Any,
    example_inputs: tuple[Any, ...] | Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    module: str | None = None,
    signature: str | None = None,
    outputs: Sequence[str] = (),
    target: str = "host",
    input_shapes: Mapping[str, tuple[int | str, ...]] | None = None,
    format: str = "so",  # noqa: A002
    optimization: int = 3,
    accuracy: str = "default",
    jobs: int = 0,
    specialize: Mapping[str, tuple[int, ...]] | None = None,
    precision: str = "fp32",
    strict: bool = False,
    keep_fp32: Sequence[str] = (),
    toolchain: str | None = None,
) -> Artifact:
    """Compile a model: ``tilewright.compile("model.onnx").save("model.so")``.

    Args:
        model: a file, or a ``torch.nn.Module`` or ``torch.export.ExportedProgram``; a module is compiled for inference.
        example_inputs: of a module, the arguments of one call, by position or by name.
        dynamic_shapes: of a module, which dimensions may change, as ``torch.export.export`` takes it.
        module: "path.py:factory" for a file of weights, as of :class:`CompileRequest`, where the others are explained.
        signature: which signature of a TensorFlow SavedModel.
        outputs: nodes where a frozen TensorFlow graph ends.

    Raises UserError for whatever the user can mend.
    """
    live = None if isinstance(model, (str, Path)) else LiveModel(model, example_inputs, dynamic_shapes)
    if live is None and (example_inputs is not None or dynamic_shapes is not None):
        raise UserError(f"'{model}' is a file: example_inputs and dynamic_shapes are for modules in memory")
    path = Path(type(model).__name__) if live else Path(model)
    shapes = dict(input_shapes or {})
    artifact = compile_model(
        CompileRequest(
            path,
            target,
            shapes,
            format,
            optimization,
            accuracy,
            jobs,
            precision,
            strict,
            module=module,
            live=live,
            specialize=dict(specialize or {}),
            signature=signature,
            outputs=tuple(outputs),
            keep_fp32=tuple(keep_fp32),
            toolchain=toolchain,
        )
    )
    assert artifact is not None
    return artifact
