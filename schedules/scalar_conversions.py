"""Small floats to single precision and back."""

from __future__ import annotations

from typing import Any

from ..element_types import SmallFloat, small_float
from ..small_floats import decode, encode
from .bindings import Bindings, Expr
from .scalar_registry import scalar_op

Attrs = dict[str, Any]


def _format(attrs: Attrs) -> SmallFloat:
    found = small_float(str(attrs["format"]))
    if found is None:
        raise ValueError(f"'{attrs['format']}' is no small float")
    return found


@scalar_op("tilewright.decode", dtypes=("float32",), cost=6)
def decoded(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """Bits to the number they mean."""
    return decode(args[0], _format(attrs), v.bind)


@scalar_op("tilewright.encode", dtypes=("uint8", "uint16"), cost=12)
def encoded(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """A number to the bits of the nearest one."""
    return encode(args[0], _format(attrs), bool(attrs["saturate"]), str(attrs["round_mode"]), v.bind)
