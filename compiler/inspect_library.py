"""Inspect: what a compiled library says about itself, read out of the file without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..runtime.manifest import read_manifest
from ..signature import TensorSpec
from ..targets.host import read_machine


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
    """Read the manifest of a library made for any machine.

    Args:
        check: whether to compare the whole file with the hash that was written into it when it was made.

    Raises:
        UserError: no such file, no library of ours, or corrupted.
    """
    manifest = read_manifest(path, verify=check)
    try:
        return _contents(manifest, path.stat().st_size)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: its manifest is damaged ({error}); compile the model again") from error


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
        TensorSpec(str(each["name"]), tuple(each["shape"]), str(each["dtype"]), tuple(each.get("largest", ())))
        for each in tensors
    )
