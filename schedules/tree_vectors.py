"""Vectors written out, which kernels of tree ensembles are made of: lanes are rows or trees, loads are look-ups."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from .bindings import Expr

#: Lanes of 32 bits in a vector of a look-up, and bits in a word of a mask.
LANES, WORD = 16, 64
_BITS = {"float32": ("int32", 0x7FFFFFFF, 0x7F800000), "float64": ("int64", (1 << 63) - 1, 0x7FF0000000000000)}


def number(value: int, dtype: str = "int32") -> Expr:
    """Return an integer constant."""
    return tirx.const(value, dtype)


def splat(value: Expr | int, lanes: int = LANES, dtype: str = "int32") -> Expr:
    """Return a vector of one value."""
    value = number(value, dtype) if isinstance(value, int) else value
    return tirx.Broadcast(value, lanes) if lanes > 1 else value


def ramp(base: Expr | int, lanes: int = LANES, stride: int = 1) -> Expr:
    """Return the places of adjacent elements."""
    base = number(base) if isinstance(base, int) else base
    return tirx.Ramp(base, number(stride), lanes) if lanes > 1 else base


def vector_type(dtype: str, lanes: int = LANES) -> str:
    """Return the name of a vector's type."""
    return f"{dtype}x{lanes}" if lanes > 1 else dtype


def missing(value: Expr, dtype: str, lanes: int = LANES) -> Expr:
    """Return which lanes are NaN; on the bits, because TVM takes ``x != x`` for false."""
    integer, magnitude, infinity = _BITS[dtype]
    bits = tirx.reinterpret(vector_type(integer, lanes), value)
    return (bits & splat(number(magnitude, integer), lanes)) > splat(number(infinity, integer), lanes)


def word_of(condition: Expr) -> Expr:
    """Return 64 conditions as the bits of a word, the first lane lowest."""
    return tirx.reinterpret("uint64", condition.astype(f"uint1x{WORD}"))


def bits_of(word: Expr) -> Expr:
    """Return the bits of a word as 64 conditions."""
    return tirx.reinterpret(f"uint1x{WORD}", word).astype(f"boolx{WORD}")


def scratch(count: int, dtype: str) -> Any:
    """Return a buffer of the kernel's own."""
    return T.alloc_buffer((count,), dtype)


def opaque(places: Expr, lanes: int = LANES) -> Expr:
    """Return places that were read or computed, of which the analysis of allocations infers no bounds.

    It fails on vectors, and would bound a buffer by a variable that is bound inside the loop.
    """
    return tirx.reinterpret(vector_type("int32", lanes), tirx.reinterpret(vector_type("uint32", lanes), places))


class Lookups:
    """How a vector of elements is read by a vector of places: element by element on any target."""

    def gather(self, buffer: Any, places: Expr, dtype: str) -> Expr:
        """Return the elements of a flat buffer at 16 places."""
        return buffer[opaque(places)]

    def leaf(self, leaves: Any, begin: Expr, count: int, index: Expr, dtype: str) -> Expr:
        """Return 16 of the ``count`` leaves that stand from ``begin`` on."""
        return self.gather(leaves, splat(begin) + index, dtype)
