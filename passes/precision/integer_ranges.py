"""What integers of an element type hold."""

from __future__ import annotations


def range_of(dtype: str) -> tuple[int, int] | None:
    """Return the least and the largest integer of an element type, None for one that is not of integers."""
    signed = dtype.startswith("int")
    if not signed and not dtype.startswith("uint"):
        return None
    bits = int(dtype.removeprefix("u").removeprefix("int"))
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
