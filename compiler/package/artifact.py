"""An artifact: the library that was made, its manifest, and what making it told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Report:
    """Figures for people; sizes in bytes."""

    phases: tuple[tuple[str, float], ...]
    kernels: int
    steps: int
    arena_bytes: int
    weight_bytes: int
    library_bytes: int


class Artifact:
    """A compiled model, ready to be saved.

    Attributes:
        manifest: what stands in the library: name, signature, target, needed CPU features, versions, hashes.
        report: figures for people.
    """

    manifest: dict[str, Any]
    report: Report

    def save(self, path: str | Path) -> Path:
        """Write the library (for formats of several files, the folder) to a temporary name and rename it into place."""
        raise NotImplementedError
