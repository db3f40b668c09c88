"""Inspect: what a compiled library says about itself, read out of the file without loading it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..runtime.manifest import find_manifest, read_manifest
from ..signature import TensorSpec
from ..targets.host import read_machine

_MANIFEST = "manifest.json"
_MANIFEST_BYTES = 1 << 24
_ELF, _ARCHIVE = b"\x7fELF", b"!<arch>\n"


@dataclass(frozen=True)
class KernelUse:
    """A kernel of a library: its symbol, the schedule template that made it, and how many steps call it."""

    symbol: str
    template: str
    steps: int


@dataclass(frozen=True)
class LibraryContents:
    """What is in a library.

    Attributes:
        target, triple: what it was compiled for.
        features: CPU features it needs, in Linux's spelling.
        lacking: those of them that this machine's CPU does not have.
        versions: what it was made with.
        sha256: hashes of its parts.
        file_bytes, weight_bytes, arena_bytes: sizes of the file, of the weights in it, and of an instance's memory.
        steps: how many kernel calls a run makes.
        in_floats: pairs of a node that quantized tensors go into and floats are computed for, and the reason.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    target: str
    triple: str
    features: tuple[str, ...]
    lacking: tuple[str, ...]
    versions: dict[str, str]
    sha256: dict[str, str]
    file_bytes: int
    weight_bytes: int
    arena_bytes: int
    steps: int
    kernels: tuple[KernelUse, ...]
    in_floats: tuple[tuple[str, str], ...] = ()


def inspect_library(path: Path, *, check: bool = False) -> LibraryContents:
    """Read the manifest of a library, archive, object file or folder of C sources, made for any machine.

    Args:
        check: whether to compare the whole file with the hash that was written into it when it was made.

    Raises:
        UserError: no such file, no library of ours, or corrupted.
    """
    manifest = _read(path, check)
    files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
    try:
        return _contents(manifest, sum(each.stat().st_size for each in files))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: its manifest is damaged ({error}); compile the model again") from error


def is_product(path: Path) -> bool:
    """Return whether a path looks like what ``tilewright compile`` writes, apart from bundles."""
    if path.is_dir():
        return (path / _MANIFEST).is_file()
    try:
        with path.open("rb") as file:
            start = file.read(len(_ARCHIVE))
    except OSError:
        return path.suffix == ".so"
    return path.suffix == ".so" or start[: len(_ELF)] == _ELF or start == _ARCHIVE


def _read(path: Path, check: bool) -> dict[str, Any]:
    """Return the manifest of any product."""
    if path.is_dir():
        return _read_folder(path)
    if path.suffix in (".a", ".o"):
        return find_manifest(path)
    return read_manifest(path, verify=check)


def _read_folder(path: Path) -> dict[str, Any]:
    file = path / _MANIFEST
    try:
        if file.stat().st_size > _MANIFEST_BYTES:
            raise UserError(f"{file}: has more than {_MANIFEST_BYTES} bytes, which no manifest needs")
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise UserError(f"{file}: cannot be read; compile the model again") from None
    if not isinstance(found, dict):
        raise UserError(f"{file}: is no manifest of a compiled model")
    return found


def _contents(manifest: dict[str, Any], file_bytes: int) -> LibraryContents:
    target, sizes = manifest["target"], manifest["bytes"]
    features = tuple(map(str, target["features"]))
    return LibraryContents(
        name=str(manifest["name"]),
        inputs=_specs(manifest["signature"]["inputs"]),
        outputs=_specs(manifest["signature"]["outputs"]),
        target=str(target["name"]),
        triple=str(target["triple"]),
        features=features,
        lacking=tuple(sorted(set(features) - read_machine().flags)),
        versions={str(name): str(version) for name, version in manifest["versions"].items()},
        sha256={str(name): str(value) for name, value in manifest["sha256"].items()},
        file_bytes=file_bytes,
        weight_bytes=int(sizes["weights"]),
        arena_bytes=int(sizes["arena"]),
        steps=int(manifest["steps"]),
        kernels=tuple(
            KernelUse(str(each["symbol"]), str(each["template"]), int(each["steps"])) for each in manifest["kernels"]
        ),
        in_floats=tuple((str(each["node"]), str(each["reason"])) for each in manifest.get("in_floats", ())),
    )


def _specs(tensors: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            str(each["name"]),
            tuple(each["shape"]),
            str(each["dtype"]),
            tuple(each.get("largest", ())),
            tuple(map(str, each.get("labels", ()))),
        )
        for each in tensors
    )
