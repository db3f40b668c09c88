"""An artifact: the library that was made, its manifest, and what making it told."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..files import check_writable, write_file

_MANIFEST = "manifest.json"


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
    """A compiled model, ready to be saved. Until then it lies in a temporary folder, which goes with the artifact.

    Attributes:
        manifest: what stands in the library: name, signature, target, needed CPU features, versions, hashes.
        report: figures for people.
    """

    def __init__(
        self, product: Path, folder: tempfile.TemporaryDirectory[str], manifest: dict[str, Any], report: Report
    ) -> None:
        self._product = product
        self._folder = folder
        self.manifest = manifest
        self.report = report

    def save(self, path: str | Path) -> Path:
        """Write the library (or, for formats of several files, the folder) under a temporary name, then rename it.

        Raises UserError when it cannot be written there; then nothing is left behind. A folder replaces an empty one
        or one that was written here before, nothing else.
        """
        path = Path(path)
        if self._product.is_dir():
            _save_folder(self._product, path)
        else:
            write_file(path, lambda file: _copy(self._product, file))
        return path


def _copy(source: Path, file: Any) -> None:
    with source.open("rb") as product:
        shutil.copyfileobj(product, file, 1 << 20)


def _save_folder(source: Path, path: Path) -> None:
    check_writable(path, folder=True)
    if path.is_dir() and any(path.iterdir()) and not (path / _MANIFEST).is_file():
        raise UserError(f"cannot write '{path}': the folder is not empty; give the name of a new one")
    try:
        with tempfile.TemporaryDirectory(
            dir=path.parent, prefix=f".{path.name}.", ignore_cleanup_errors=True
        ) as around:
            made, before = Path(around, "new"), Path(around, "before")
            shutil.copytree(source, made)
            if path.is_dir():
                os.rename(path, before)
            os.rename(made, path)
    except shutil.Error as error:
        causes = error.args[0]
        raise UserError(f"cannot write '{path}': {causes[0][2] if causes else error}") from error
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror or error}") from error


def disk_full(error: OSError, folder: Path) -> UserError | None:
    """Return the sentence for a full disk, None for any other error."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return UserError(f"no space is left in '{folder}' to make the library: free some, or set TMPDIR")
