"""Figures and names as people read them."""

from __future__ import annotations

_SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


def printable(text: str) -> str:
    """Return text from a file with every control character escaped: names in a model must not steer a terminal."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def size(count: float) -> str:
    """Return a number of bytes with three significant digits: "97.4 MiB"."""
    for unit, name in _SIZES:
        if count >= unit:
            return f"{_three_digits(count / unit)} {name}"
    return f"{count:.0f} B"


def duration(seconds: float) -> str:
    """Return a time with three significant digits: "6.57 ms"."""
    for unit, name in _TIMES:
        if seconds >= unit:
            return f"{_three_digits(seconds / unit)} {name}"
    return f"{seconds * 1e9:.0f} ns"


def shape(dims: tuple[int | str, ...]) -> str:
    """Return a shape as ``[1, 3, 224, 224]``."""
    return "[" + ", ".join(printable(str(dim)) for dim in dims) + "]"


def _three_digits(value: float) -> str:
    return f"{value:.{max(0, 2 - (len(str(int(value))) - 1))}f}"
