"""Element types that machines neither compute nor store as such: small floats and integers narrower than a byte.

A tensor of such a type is stored as a tensor of its *container*: every element is the low bits of an unsigned integer
of its own, whose other bits are zero. That is how ml_dtypes keeps them too.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ElementType:
    """One element type.

    Attributes:
        name: as ml_dtypes and TVM name it.
        code: DLPack's type code.
        bits: how many bits of its container mean something.
        container: the unsigned integer type that holds one element.
    """

    name: str
    code: int
    bits: int
    container: str


@dataclass(frozen=True)
class SmallFloat(ElementType):
    """A floating-point type of at most 16 bits.

    Attributes:
        mantissa: its explicit mantissa bits; 0 for a pure exponent without a sign.
        bias: the exponent's.
        largest: the bits of the largest finite number.
        beyond: the bits that follow an overflow where it does not saturate: infinity, or NaN; None where the type has
            neither and always saturates.
        nan: the bits of NaN; None where there is none.
        signed_zero: whether there is a negative zero. Where there is none its bits mean NaN.
    """

    mantissa: int
    bias: int
    largest: int
    beyond: int | None
    nan: int | None
    signed_zero: bool = True


_TYPES = (
    SmallFloat("bfloat16", 4, 16, "uint16", 7, 127, 0x7F7F, 0x7F80, 0x7FC0),
    SmallFloat("float8_e4m3fn", 10, 8, "uint8", 3, 7, 0x7E, 0x7F, 0x7F),
    SmallFloat("float8_e4m3fnuz", 11, 8, "uint8", 3, 8, 0x7F, 0x80, 0x80, signed_zero=False),
    SmallFloat("float8_e5m2", 12, 8, "uint8", 2, 15, 0x7B, 0x7C, 0x7E),
    SmallFloat("float8_e5m2fnuz", 13, 8, "uint8", 2, 16, 0x7F, 0x80, 0x80, signed_zero=False),
    SmallFloat("float8_e8m0fnu", 14, 8, "uint8", 0, 127, 0xFE, 0xFF, 0xFF),
    SmallFloat("float4_e2m1fn", 17, 4, "uint8", 1, 1, 0x07, None, None),
    ElementType("int4", 0, 4, "uint8"),
    ElementType("uint4", 1, 4, "uint8"),
    ElementType("int2", 0, 2, "uint8"),
    ElementType("uint2", 1, 2, "uint8"),
)

#: The element types that travel in containers, by name.
CONTAINED: dict[str, ElementType] = {each.name: each for each in _TYPES}


def container_of(dtype: str) -> str:
    """Return the element type in which tensors of an element type are stored: itself for those of machines."""
    return CONTAINED[dtype].container if dtype in CONTAINED else dtype


def small_float(dtype: str) -> SmallFloat | None:
    """Return the description of a small float, None for any other type."""
    found = CONTAINED.get(dtype)
    return found if isinstance(found, SmallFloat) else None
