"""A bundle: one model compiled for several targets, in one tar file with the header and a manifest.

    manifest.json                {"version": 1, "name": ..., "libraries": [{"target", "triple", "features", "file",
                                 "bytes", "sha256"}, ...]}
    tilewright.h
    <target>/<name>.so           one for each target

The file depends on what is in it and on nothing else: no times, no owners, entries in order.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO, Any

from ...errors import UserError
from ...targets.database import load_target
from ..files import check_writable, write_file
from .artifact import Artifact

MANIFEST = "manifest.json"
_HEADER = "tilewright.h"
_VERSION = 1
_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True)
class BundledLibrary:
    """A library of a bundle.

    Attributes:
        target, triple, features: what it was compiled for.
        file: its name in the bundle.
        bytes: its size.
        sha256: of the file.
    """

    target: str
    triple: str
    features: tuple[str, ...]
    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Bundle:
    """What is in a bundle."""

    name: str
    libraries: tuple[BundledLibrary, ...]


def write_bundle(compile_for: Callable[[str], Artifact], targets: Sequence[str], path: Path) -> Bundle:
    """Compile for each target and write the bundle.

    Args:
        compile_for: makes the shared library of a target, by its name or the path of its file.

    Raises UserError for two targets of one name, for whatever compiling refuses, and when the file cannot be written.
    """
    check_writable(path)
    names = [load_target(each).name for each in targets]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"the target '{name}' is named twice: a bundle has one library for each")
    with tempfile.TemporaryDirectory(prefix="tilewright-", ignore_cleanup_errors=True) as folder:
        made = [_library(compile_for(target), Path(folder), name) for target, name in zip(targets, names, strict=True)]
        bundle = Bundle(made[0][0], tuple(each for _, each in made))
        write_file(path, lambda file: _write(file, bundle, Path(folder)))
    return bundle


def read_bundle(path: Path, *, check: bool = False) -> Bundle:
    """Return what a bundle says of itself; nothing is unpacked.

    Args:
        check: whether to compare every library with its size and hash.

    Raises UserError when the file is missing, no bundle, or damaged.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            bundle = _parse(path, _contents(archive, MANIFEST, _MANIFEST_BYTES))
            for library in bundle.libraries if check else ():
                if _digest(archive, library.file) != (library.bytes, library.sha256):
                    raise UserError(f"{path}: '{library.file}' has changed since the bundle was made; make it again")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (tarfile.TarError, KeyError, EOFError):
        raise UserError(f"{path}: is no bundle made by Tilewright, or is damaged") from None
    return bundle


def _library(artifact: Artifact, folder: Path, target: str) -> tuple[str, BundledLibrary]:
    """Save a library in the folder; return the model's name and the library's entry."""
    (folder / target).mkdir()
    name = str(artifact.manifest["name"])
    path = artifact.save(folder / target / f"{name}.so")
    about = artifact.manifest["target"]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    file_name = f"{target}/{name}.so"
    size = path.stat().st_size
    return name, BundledLibrary(target, about["triple"], tuple(about["features"]), file_name, size, digest)


def _write(file: IO[bytes], bundle: Bundle, folder: Path) -> None:
    about: dict[str, Any] = {
        "version": _VERSION,
        "name": bundle.name,
        "libraries": [{**vars(each), "features": list(each.features)} for each in bundle.libraries],
    }
    header = resources.files(f"{__package__.split('.')[0]}.runtime").joinpath("include", _HEADER).read_bytes()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in ((MANIFEST, (json.dumps(about, indent=2) + "\n").encode()), (_HEADER, header)):
            archive.addfile(_entry(name, len(data)), io.BytesIO(data))
        for each in bundle.libraries:
            with (folder / each.file).open("rb") as library:
                archive.addfile(_entry(each.file, each.bytes), library)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry


def _contents(archive: tarfile.TarFile, name: str, limit: int) -> bytes:
    entry = archive.getmember(name)
    file = archive.extractfile(entry) if entry.isfile() and entry.size <= limit else None
    if file is None:
        raise KeyError(name)
    return file.read()


def _digest(archive: tarfile.TarFile, name: str) -> tuple[int, str]:
    entry = archive.getmember(name)
    file = archive.extractfile(entry)
    if file is None:
        raise KeyError(name)
    return entry.size, hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _parse(path: Path, text: bytes) -> Bundle:
    try:
        about = json.loads(text.decode())
        version = about["version"]
        if version != _VERSION:
            raise UserError(f"{path}: the bundle has version {version}, this Tilewright reads version {_VERSION}")
        libraries = tuple(
            BundledLibrary(
                str(each["target"]), str(each["triple"]), tuple(map(str, each["features"])), str(each["file"]),
                int(each["bytes"]), str(each["sha256"]),
            )
            for each in about["libraries"]
        )  # fmt: skip
        return Bundle(str(about["name"]), libraries)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: the manifest of the bundle is damaged ({error}); make it again") from None
