"""Look at a shared library without loading it.

``dlopen`` of a truncated file dies of SIGBUS, and any other library runs its constructors; so the headers are read and
checked against the size of the file first (System V ABI, "Object Files"). Only headers are read, never the weights.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from ..errors import UserError

_MAGIC = b"\x7fELF"
_SHARED_OBJECT = 3
_LOAD = 1  # program header type of a mapped segment
_NO_BITS = 8  # section type that takes no room in the file
_MACHINES = {3: "x86", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv"}
_KINDS = {1: "an object file", 2: "a program", 4: "a core dump"}


@dataclass(frozen=True)
class _Format:
    """Where the fields stand: 32 and 64 bit files differ in widths and in the place of the segment's flags."""

    header: str  # e_type .. e_shstrndx
    segment: str
    segment_fields: tuple[int, int, int]  # indices of p_type, p_offset, p_filesz
    section: str


_FORMATS = {
    1: _Format("HHIIIIIHHHHHH", "8I", (0, 1, 4), "10I"),
    2: _Format("HHIQQQIHHHHHH", "2I6Q", (0, 2, 5), "2I4Q2I2Q"),
}


@dataclass(frozen=True)
class ElfFile:
    """A shared library whose headers are sound.

    Attributes:
        path: the file.
        bits: 32 or 64.
        byte_order: "<" or ">", as ``struct`` writes it.
        machine: the ELF number of its architecture.
        sections: name to (offset, size), in bytes, of the sections that lie in the file.
    """

    path: Path
    bits: int
    byte_order: str
    machine: int
    sections: dict[str, tuple[int, int]]

    @property
    def architecture(self) -> str:
        """The name of the architecture, as ``uname -m`` has it where that is known."""
        return architecture_name(self.machine, self.bits)

    def section(self, name: str, limit: int = 1 << 24) -> bytes | None:
        """Return the bytes of a section, None when there is none. Raises UserError when it is larger than the limit."""
        if name not in self.sections:
            return None
        offset, size = self.sections[name]
        if size > limit:
            raise UserError(f"{self.path}: its section {name} has {size} bytes, more than the {limit} that are read")
        with self.path.open("rb") as file:
            return _read(file, self.path, offset, size)


def architecture_name(machine: int, bits: int) -> str:
    """Return the name of an ELF machine number."""
    name = _MACHINES.get(machine, f"ELF machine {machine}")
    return f"{name}{bits}" if name == "riscv" else name


def read_elf(path: str | Path) -> ElfFile:
    """Read and check the headers of a shared library.

    Raises:
        UserError: no such file, a directory, unreadable, not an ELF shared library, or truncated.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise UserError(f"{path}: is a directory; give the library that lies in it")
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: is not a regular file")
        with path.open("rb") as file:
            return _parse(file, path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; 'tilewright compile' makes a library from a model") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


@cache
def own_machine() -> tuple[int, int, str]:
    """Return (machine, bits, byte order) of this process: what a library must be made for to be loaded here."""
    with open("/proc/self/exe", "rb") as file:
        head = file.read(20)
    order = _byte_order(head)
    return struct.unpack_from(order + "H", head, 18)[0], 32 * head[4], order


def _byte_order(head: bytes) -> str:
    return ">" if head[5] == 2 else "<"


def _parse(file: IO[bytes], path: Path) -> ElfFile:
    size = os.fstat(file.fileno()).st_size
    head = file.read(16)
    if not size:
        raise UserError(f"{path}: the file is empty; compile the model again")
    if len(head) < 16 or not head.startswith(_MAGIC) or head[4] not in _FORMATS or head[5] not in (1, 2):
        raise UserError(f"{path}: is not a shared library (it has no ELF header)")
    form, order = _FORMATS[head[4]], _byte_order(head)
    fields = struct.unpack(order + form.header, _read(file, path, 16, struct.calcsize(order + form.header)))
    kind, machine = fields[0], fields[1]
    if kind != _SHARED_OBJECT:
        raise UserError(f"{path}: is {_KINDS.get(kind, 'an ELF file of another kind')}, not a shared library")
    segments_at, sections_at = fields[4], fields[5]
    segment_size, segment_count, section_size, section_count, names_index = fields[8:13]
    for segment in _table(file, path, order + form.segment, segments_at, segment_size, segment_count):
        type_, offset, length = (segment[index] for index in form.segment_fields)
        if type_ == _LOAD and offset + length > size:
            raise _truncated(path)
    rows = list(_table(file, path, order + form.section, sections_at, section_size, section_count))
    return ElfFile(path, 32 * head[4], order, machine, _sections(file, path, rows, names_index, size))


def _sections(
    file: IO[bytes], path: Path, rows: list[tuple[int, ...]], names_index: int, size: int
) -> dict[str, tuple[int, int]]:
    if names_index >= len(rows):
        return {}
    names = _read(file, path, rows[names_index][4], min(rows[names_index][5], 1 << 20))
    found = {}
    for row in rows:
        if row[1] == _NO_BITS:
            continue
        if row[4] + row[5] > size:
            raise _truncated(path)
        found[names[row[0] :].split(b"\0", 1)[0].decode("latin-1")] = (row[4], row[5])
    return found


def _table(
    file: IO[bytes], path: Path, layout: str, offset: int, entry_size: int, count: int
) -> Iterator[tuple[int, ...]]:
    """Yield the rows of a header table; the counts are 16 bit, so the table cannot be large."""
    if not count:
        return
    if entry_size != struct.calcsize(layout):
        raise UserError(f"{path}: is damaged (its header tables have an impossible size); compile the model again")
    yield from struct.iter_unpack(layout, _read(file, path, offset, entry_size * count))


def _read(file: IO[bytes], path: Path, offset: int, size: int) -> bytes:
    if offset + size > os.fstat(file.fileno()).st_size:
        raise _truncated(path)
    file.seek(offset)
    data = file.read(size)
    if len(data) < size:
        raise _truncated(path)
    return data


def _truncated(path: Path) -> UserError:
    return UserError(f"{path}: is truncated; copy it again, or compile the model again")
