"""The manifest of a library, read out of its file without running any of it.

A library carries its manifest in the section ``.tilewright``: a header, then JSON in UTF-8 with a zero byte at its end.
The header is little-endian: magic, version, length of the JSON, size of the whole file, and the SHA-256 of the whole
file with size and hash zeroed. Size and hash are zero in libraries that were linked into something else.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
from pathlib import Path
from typing import IO, Any

from ..errors import UserError
from .elf import ElfFile, read_elf

SECTION = ".tilewright"

_HEADER = struct.Struct("<8sIIQ32s")
_SEAL = struct.Struct("<Q32s")
_SEAL_OFFSET = _HEADER.size - _SEAL.size
_MAGIC = b"TILEWRGT"
_VERSION = 1
_PIECE = 1 << 20

HEADER_BYTES = _HEADER.size


def section_bytes(manifest: dict[str, Any]) -> bytes:
    """Return the contents of the section for a manifest, not yet sealed."""
    text = json.dumps(manifest, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    return _HEADER.pack(_MAGIC, _VERSION, len(text), 0, bytes(32)) + text + b"\0"


def seal(path: Path) -> None:
    """Write the size and the hash of a finished library into its header."""
    elf = read_elf(path)
    offset = elf.sections[SECTION][0] + _SEAL_OFFSET
    digest = _digest(path, offset)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(_SEAL.pack(path.stat().st_size, digest))


def read_manifest(path: str | Path, *, verify: bool = False) -> dict[str, Any]:
    """Return the manifest of a library, for any CPU.

    Args:
        verify: whether to read the whole file and compare its hash with the one written when it was made.

    Raises:
        UserError: the file is missing, no ELF library, not made by Tilewright, or corrupted.
    """
    elf = read_elf(path)
    data = elf.section(SECTION)
    if data is None:
        raise UserError(f"{path}: is not a library made by Tilewright (it has no section {SECTION})")
    if len(data) < _HEADER.size:
        raise _corrupted(elf, "its manifest is cut short")
    magic, version, length, size, digest = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise UserError(f"{path}: is not a library made by Tilewright (its section {SECTION} is something else)")
    if version != _VERSION:
        raise UserError(f"{path}: its manifest has version {version}, this Tilewright reads version {_VERSION}")
    if size not in (0, elf.path.stat().st_size):
        raise _corrupted(elf, f"it was made with {size} bytes and now has {elf.path.stat().st_size}")
    if verify and size and _digest(elf.path, elf.sections[SECTION][0] + _SEAL_OFFSET) != digest:
        raise _corrupted(elf, "its bytes have changed since it was made")
    return _parse(elf, data[_HEADER.size : _HEADER.size + length], length)


def find_manifest(path: str | Path) -> dict[str, Any]:
    """Return the manifest of an object file or an archive, which is searched for it.

    Raises UserError when there is none, or it is damaged.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = data.find(_MAGIC)
            while at >= 0:
                _, version, length, *_ = _HEADER.unpack(data[at : at + _HEADER.size].ljust(_HEADER.size, b"\0"))
                if version == _VERSION and length <= len(data) - at:
                    found = json.loads(data[at + _HEADER.size : at + _HEADER.size + length].decode())
                    if isinstance(found, dict):
                        return found
                at = data.find(_MAGIC, at + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise UserError(f"{path}: its manifest cannot be read; compile the model again") from None
    raise UserError(
        f"{path}: has no manifest of Tilewright: give the folder with its manifest.json, if it was made for a machine "
        "without an operating system"
    )


def labels_of(manifest: dict[str, Any], index: int) -> tuple[str, ...]:
    """Return the strings that an output's elements number; none for most."""
    outputs = manifest.get("signature", {}).get("outputs", ())
    return tuple(map(str, outputs[index].get("labels", ()))) if index < len(outputs) else ()


def _parse(elf: ElfFile, text: bytes, length: int) -> dict[str, Any]:
    try:
        manifest = json.loads(text.decode())
    except ValueError:
        raise _corrupted(elf, "its manifest cannot be read") from None
    if len(text) != length or not isinstance(manifest, dict):
        raise _corrupted(elf, "its manifest cannot be read")
    return manifest


def _corrupted(elf: ElfFile, why: str) -> UserError:
    return UserError(f"{elf.path}: is corrupted ({why}); copy it again, or compile the model again")


def _digest(path: Path, seal_offset: int) -> bytes:
    """The SHA-256 of a file with zeros for the seal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        _update(digest, file, seal_offset)
        digest.update(bytes(_SEAL.size))
        file.seek(_SEAL.size, 1)
        _update(digest, file, None)
    return digest.digest()


def _update(digest: Any, file: IO[bytes], size: int | None) -> None:
    while piece := file.read(_PIECE if size is None else min(_PIECE, size)):
        digest.update(piece)
        size = None if size is None else size - len(piece)
