"""Small floats to single precision and back, as scalar TIR expressions on their bits.

TVM's simplifier takes for granted that integers do not wrap, and its passes may widen int32 as if it were an index. So
bits are computed as uint32 where no difference can be negative, which is the case for bfloat16, and else as int64.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from .element_types import SmallFloat

Expr = Any
#: Gives a value that is used several times a name; the identity will do.
Bind = Callable[[Expr], Expr]

_INFINITY = 0x7F800000
_QUIET_NAN = 0x7FC00000
_MAGNITUDE = 0x7FFFFFFF


def decode(code: Expr, small: SmallFloat, bind: Bind) -> Expr:
    """Return the float32 of a container's bits. Exact: every small float is a float32."""
    from tvm import tirx

    bits = bind(code.astype("uint32"))
    w = _Words("uint32")
    if small.mantissa == 0:
        normal = tirx.Select(tirx.EQ(bits, w(0)), w(1 << 22), bits << w(23))
        return w.number(tirx.Select(tirx.EQ(bits, w(0xFF)), w(_QUIET_NAN), normal))
    if small.bias == 127:
        return w.number(bits << w(16))
    sign_bit = 1 << (small.bits - 1)
    magnitude = bind(bits & w(sign_bit - 1))
    sign = (bits & w(sign_bit)) << w(32 - small.bits)
    steps = magnitude.astype("float32") * tirx.const(2.0 ** (1 - small.bias - small.mantissa), "float32")
    normal = (magnitude << w(23 - small.mantissa)) + w((127 - small.bias) << 23)
    value = tirx.Select(magnitude < w(1 << small.mantissa), w.of(bind(steps)), normal)
    if not small.signed_zero:
        value = tirx.Select(tirx.EQ(bits, w(sign_bit)), w(_QUIET_NAN), value)
    elif small.nan is not None:
        beyond = w(_INFINITY) if small.beyond != small.nan else w(_QUIET_NAN)
        value = tirx.Select(tirx.EQ(magnitude, w(small.largest + 1)), beyond, value)
        value = tirx.Select(magnitude > w(small.largest + 1), w(_QUIET_NAN), value)
    return w.number(bind(value) | sign)


def encode(value: Expr, small: SmallFloat, saturate: bool, round_mode: str, bind: Bind) -> Expr:
    """Return the container's bits of a float32 or float64, rounded once: to the nearest, ties to even.

    Args:
        saturate: whether what is too large, infinity included, becomes the largest number.
        round_mode: of a pure exponent only: "up", "down" or "nearest" (ties up).
    """
    from tvm import tirx

    value = bind(value)
    if str(value.ty.dtype) == "float64":
        value = bind(_to_odd(value, bind))
    w = _Words("uint32" if small.bias == 127 else "int64")
    word = bind(w.of(value))
    magnitude = bind(word & w(_MAGNITUDE))
    is_nan = magnitude > w(_INFINITY)
    if small.mantissa == 0:
        return tirx.Select(is_nan, w(0xFF), _exponent(magnitude, saturate, round_mode, bind)).astype("uint8")
    code = bind(_rounded(magnitude, small, w, bind))
    beyond = small.largest if saturate or small.beyond is None else small.beyond
    code = bind(tirx.Select(code > w(small.largest), w(beyond), code))
    code = bind(tirx.Select(is_nan, w(0 if small.nan is None else small.nan), code))
    sign = (word >> w(31)) << w(small.bits - 1)
    if not small.signed_zero:
        sign = tirx.Select(tirx.EQ(code, w(0)), w(0), sign)
    return (code | sign).astype(small.container)


class _Words:
    """The bits of float32 as integers of one type, which holds all of them as non-negative numbers."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def __call__(self, value: int) -> Expr:
        """Return a constant."""
        from tvm import tirx

        return tirx.const(value, self.dtype)

    def of(self, value: Expr) -> Expr:
        """Return the bits of a number."""
        from tvm import tirx

        return tirx.reinterpret("uint32", value).astype(self.dtype)

    def number(self, word: Expr) -> Expr:
        """Return the number of some bits."""
        from tvm import tirx

        return tirx.reinterpret("float32", word.astype("uint32"))


def _rounded(magnitude: Expr, small: SmallFloat, w: _Words, bind: Bind) -> Expr:
    """Return the bits of the nearest number, as if exponents had no end."""
    from tvm import tirx

    shift = 23 - small.mantissa
    odd = (magnitude >> w(shift)) & w(1)
    normal = (magnitude + odd + w((1 << (shift - 1)) - 1)) >> w(shift)
    if small.bias == 127:
        return normal
    normal = normal - w((127 - small.bias) << small.mantissa)
    # Added to this number, what is below the smallest normal one is rounded to steps of the smallest one by the adder.
    offset = 2.0 ** (1 - small.bias - small.mantissa + 23)
    total = bind(w.number(magnitude) + tirx.const(offset, "float32"))
    return tirx.Select(magnitude < w((128 - small.bias) << 23), w.of(total) - w(_bits(offset)), normal)


def _exponent(magnitude: Expr, saturate: bool, round_mode: str, bind: Bind) -> Expr:
    """Return the exponent's bits of a number that is not NaN; a subnormal one's are 0."""
    from tvm import tirx

    w = _Words("uint32")
    exponent = bind(magnitude >> w(23))
    fraction = bind(magnitude & w(0x7FFFFF))
    if round_mode == "down":
        up = w(0)
    elif round_mode == "up":
        up = tirx.Select(fraction > w(0), w(1), w(0))
    else:
        # The fraction that stays below: half of the way, which goes up but from a subnormal number.
        half = tirx.Select(tirx.EQ(exponent, w(0)), w(0x400000), w(0x3FFFFF))
        up = tirx.Select(fraction > half, w(1), w(0))
    code = bind(exponent + up)
    return tirx.Select(code > w(0xFE), w(0xFE if saturate else 0xFF), code)


def _to_odd(value: Expr, bind: Bind) -> Expr:
    """Return a float64 as a float32 that still shows on which side of a tie it lay: an inexact one is made odd.

    Boldo and Melquiond, "When double rounding is odd", 2005.
    """
    from tvm import tirx

    w = _Words("int64")
    near = bind(value.astype("float32"))
    back = bind(near.astype("float64"))
    word = bind(w.of(near))
    even = tirx.EQ(word & w(1), w(0))
    down = tirx.Select(tirx.all(even, tirx.abs(back) > tirx.abs(value)), w(-1), w(0))
    up = tirx.Select(tirx.all(even, tirx.abs(back) < tirx.abs(value)), w(1), w(0))
    return w.number(word + down + up)


def _bits(value: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", value))[0])
