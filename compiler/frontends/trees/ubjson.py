"""Universal Binary JSON (draft 12) as XGBoost writes it: https://ubjson.org/type-reference/. The data is untrusted."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....errors import UserError

#: Numbers of fixed size: numpy's big-endian type of each marker.
_NUMBERS = {b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
_INTEGERS = frozenset({b"i", b"U", b"I", b"l", b"L"})
_WORDS = {b"Z": None, b"T": True, b"F": False}
_DEEPEST = 64


def parse(data: bytes) -> Any:
    """Return the value of a UBJSON document; arrays of one type of number become numpy arrays.

    Raises UserError for a document that is cut off, nested too deep, or none.
    """
    reader = _Reader(data)
    value = reader.value(reader.marker(), 0)
    if reader.at != len(data):
        raise UserError(f"bytes follow the end of its data at {reader.at}")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise UserError(f"its data is cut off: {count} bytes are to follow byte {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def marker(self) -> bytes:
        """Return the next marker, no-operations skipped."""
        found = self.take(1)
        while found == b"N":
            found = self.take(1)
        return found

    def value(self, marker: bytes, depth: int) -> Any:
        """Return the value behind a marker."""
        if depth > _DEEPEST:
            raise UserError(f"its data is nested deeper than {_DEEPEST} levels")
        if marker in _NUMBERS:
            return self._numbers(marker, 1)[0].item()
        if marker in _WORDS:
            return _WORDS[marker]
        if marker == b"C":
            return self.take(1).decode("ascii", "replace")
        if marker in (b"S", b"H"):
            return self._text()
        if marker == b"[":
            return self._array(depth)
        if marker == b"{":
            return self._object(depth)
        raise UserError(f"byte {self.at - 1} is no marker of UBJSON")

    def _numbers(self, marker: bytes, count: int) -> Any:
        kind = np.dtype(_NUMBERS[marker])
        return np.frombuffer(self.take(count * kind.itemsize), kind)

    def _length(self) -> int:
        marker = self.marker()
        if marker not in _INTEGERS:
            raise UserError(f"byte {self.at - 1} is not the marker of a length")
        return int(self._numbers(marker, 1)[0])

    def _text(self) -> str:
        try:
            return self.take(self._length()).decode()
        except UnicodeDecodeError as error:
            raise UserError(f"the string that ends at byte {self.at} is not UTF-8 text") from error

    def _counted(self) -> tuple[bytes | None, int | None, bytes]:
        """Return a container's element type and length where it states them, and the marker behind."""
        kind = count = None
        marker = self.marker()
        if marker == b"$":
            kind, marker = self.marker(), self.marker()
        if marker == b"#":
            count = self._length()
            if not 0 <= count <= len(self.data):
                raise UserError(
                    f"the container at byte {self.at} is to have {count} elements, more than the file holds"
                )
            marker = b""
        elif kind is not None:
            raise UserError(f"the container at byte {self.at} states a type without a length")
        return kind, count, marker

    def _array(self, depth: int) -> Any:
        kind, count, marker = self._counted()
        if kind in _NUMBERS and count is not None:
            assert kind is not None
            return self._numbers(kind, count).astype(np.dtype(_NUMBERS[kind]).newbyteorder("="))
        found: list[Any] = []
        if count is not None:
            return [self.value(kind or self.marker(), depth + 1) for _ in range(count)]
        while marker != b"]":
            found.append(self.value(marker, depth + 1))
            marker = self.marker()
        return found

    def _object(self, depth: int) -> dict[str, Any]:
        kind, count, marker = self._counted()
        found: dict[str, Any] = {}
        while len(found) < count if count is not None else marker != b"}":
            if count is None:
                self.at -= 1
            name = self._text()
            if name in found:
                raise UserError(f"the name '{name[:40]}' stands twice in one object")
            found[name] = self.value(kind or self.marker(), depth + 1)
            marker = self.marker() if count is None else b""
        return found
