"""The compiler's one entry: a request in, an artifact out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .package.artifact import Artifact
from .pipeline import Observer

#: Every phase in order, with the line that ``--help`` shows.
PHASE_NAMES = ("import", "simplify", "precision", "fuse", "layout", "schedule", "plan", "package")


@dataclass(frozen=True)
class CompileRequest:
    """What to compile, for what, and how.

    Attributes:
        model: the model file.
        target: a target's name, the path of a target file, or "host".
        input_shapes: shapes that replace symbolic or declared ones, by input name.
        format: "so" (shared library), "static" (archive and header), "obj" (one object and header) or "c" (plan,
            runtime and kernel objects as files).
        optimization: 0 to 3.
        jobs: how many processes compile kernels; 0 for one per processor.
        name: the model's name inside the library; None for the file's.
        stop_after: the last phase to run; None for all.
    """

    model: Path
    target: str = "host"
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    format: str = "so"
    optimization: int = 3
    jobs: int = 0
    name: str | None = None
    stop_after: str | None = None


def compile_model(request: CompileRequest, observe: Observer | None = None) -> Artifact | None:
    """Compile; the observer hears of every phase. Returns None when ``stop_after`` names a phase before the last.

    Raises UserError for whatever the user can mend.
    """
    raise NotImplementedError


def compile(  # noqa: A001 - the word users expect
    model: str | Path,
    *,
    target: str = "host",
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    format: str = "so",  # noqa: A002
    optimization: int = 3,
    jobs: int = 0,
) -> Artifact:
    """Compile a model file: ``tilewright.compile("model.onnx").save("model.so")``."""
    artifact = compile_model(
        CompileRequest(Path(model), target, dict(input_shapes or {}), format, optimization, jobs)
    )
    assert artifact is not None
    return artifact
