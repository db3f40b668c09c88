"""Make the symbols of a relocatable object local, so that two models can be linked into one program.

Nothing but the table of symbols and what counts its rows is written (System V ABI, "Symbol Table"; local symbols come
first there, so the table is sorted anew and relocations follow). The weights in the same file are not read.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_SYMBOLS, _RELA, _REL, _GROUP, _INDICES = 2, 4, 9, 17, 18
_LOCAL, _UNDEFINED = 0, 0


@dataclass(frozen=True)
class _Format:
    """Where the fields of 32 and 64 bit files stand.

    Attributes:
        header: e_shoff, e_shentsize and e_shnum, skipping what lies between.
        section: sh_name .. sh_entsize.
        symbol: a row of the table; ``info`` and ``index`` are its fields st_info and st_shndx.
        relocation: r_offset and r_info; r_addend is not touched.
        shift: where the symbol stands in r_info.
    """

    header: str
    section: str
    symbol: str
    info: int
    index: int
    relocation: str
    shift: int


_FORMATS = {
    1: _Format("32xI10xHH", "10I", "IIIBBH", 3, 5, "II", 8),
    2: _Format("40xQ10xHH", "2I4Q2I2Q", "IBBHQQ", 1, 3, "QQ", 32),
}
#: Fields of a section's header.
_NAME, _TYPE, _FLAGS, _OFFSET, _SIZE, _LINK, _INFO, _ENTRY = 0, 1, 2, 4, 5, 6, 7, 9
_EXECUTED = 4  # flag of a section


def localize(path: Path, kept: Collection[str]) -> None:
    """Make every symbol that the object defines local but those of some names. The object has one symbol table.

    Raises ValueError for a file that is no relocatable object of ours.
    """
    with path.open("r+b") as file:
        _Object(file).localize(kept)


def code_bytes(path: Path) -> int:
    """Return the bytes of a relocatable object's sections of machine code, literals among it included."""
    with path.open("rb") as file:
        return sum(each[_SIZE] for each in _Object(file).sections if each[_FLAGS] & _EXECUTED)


class _Object:
    """An open relocatable object: the headers of its sections."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        start = file.read(64)
        if start[:4] != b"\x7fELF" or start[4] not in _FORMATS:
            raise ValueError("the linker wrote no ELF object")
        self.format = _FORMATS[start[4]]
        self.order = "<" if start[5] == 1 else ">"
        self.offset, self.entry, count = struct.unpack_from(self.order + self.format.header, start)
        self.sections = [self._section(at) for at in range(count)]

    def localize(self, kept: Collection[str]) -> None:
        """Rewrite the table of symbols and whatever speaks of its rows."""
        at, table = next((at, each) for at, each in enumerate(self.sections) if each[_TYPE] == _SYMBOLS)
        symbols = self._symbols(table)
        names = self._read(self.sections[table[_LINK]])
        rows = [self._localized(row, names, kept) for row in symbols]
        order = sorted(range(len(rows)), key=lambda row: _binding(rows[row][self.format.info]) != _LOCAL)
        places = {row: place for place, row in enumerate(order)}
        layout = self.order + self.format.symbol
        self._write(table[_OFFSET], b"".join(struct.pack(layout, *rows[row]) for row in order))
        local = sum(_binding(row[self.format.info]) == _LOCAL for row in rows)
        self._set_info(at, local)
        for number, section in enumerate(self.sections):
            if section[_TYPE] in (_REL, _RELA) and section[_LINK] == at:
                self._renumber(section, places)
            if section[_TYPE] == _GROUP and section[_LINK] == at:
                self._set_info(number, places[section[_INFO]])
            if section[_TYPE] == _INDICES:
                raise ValueError("an object of more than 65279 sections cannot be made local")

    def _localized(self, row: tuple[int, ...], names: bytes, kept: Collection[str]) -> tuple[int, ...]:
        info, index = row[self.format.info], row[self.format.index]
        name = names[row[0] : names.index(b"\0", row[0])].decode("latin-1")
        if index == _UNDEFINED or name in kept:
            return row
        fields = list(row)
        fields[self.format.info] = info & 0xF
        return tuple(fields)

    def _symbols(self, table: tuple[int, ...]) -> list[tuple[int, ...]]:
        return list(struct.iter_unpack(self.order + self.format.symbol, self._read(table)))

    def _renumber(self, section: tuple[int, ...], places: dict[int, int]) -> None:
        data = bytearray(self._read(section))
        layout, shift = self.order + self.format.relocation, self.format.shift
        for at in range(0, len(data), section[_ENTRY]):
            offset, info = struct.unpack_from(layout, data, at)
            kind = info & ((1 << shift) - 1)
            struct.pack_into(layout, data, at, offset, places[info >> shift] << shift | kind)
        self._write(section[_OFFSET], bytes(data))

    def _section(self, at: int) -> tuple[int, ...]:
        self.file.seek(self.offset + at * self.entry)
        layout = self.order + self.format.section
        return struct.unpack(layout, self.file.read(struct.calcsize(layout)))

    def _set_info(self, at: int, value: int) -> None:
        fields = list(self.sections[at])
        fields[_INFO] = value
        self._write(self.offset + at * self.entry, struct.pack(self.order + self.format.section, *fields))

    def _read(self, section: tuple[int, ...]) -> bytes:
        self.file.seek(section[_OFFSET])
        return self.file.read(section[_SIZE])

    def _write(self, offset: int, data: bytes) -> None:
        self.file.seek(offset)
        self.file.write(data)


def _binding(info: int) -> int:
    return info >> 4
