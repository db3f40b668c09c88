"""C11 for machines without an operating system."""

from __future__ import annotations

from .dialect import MATH, Dialect

_BYTES = {"8": "int8_t", "16": "int16_t", "32": "int32_t", "64": "int64_t"}
_TYPES = {
    "float32": "float",
    "float64": "double",
    "bool": "uint8_t",
    **{f"int{bits}": name for bits, name in _BYTES.items()},
    **{f"uint{bits}": f"u{name}" for bits, name in _BYTES.items()},
}

_HEAD = """\
#include <math.h>
#include <stdint.h>
#include <string.h>
"""


def bits_helper(source: str, result: str) -> str:
    """Return a function that reads the bits of one type as another: copying them is what C defines."""
    value, made = _TYPES[source], _TYPES[result]
    return (
        f"static inline {made} tw_{result}_of_{source}({value} value) {{\n"
        f"  {made} bits;\n  memcpy(&bits, &value, sizeof bits);\n  return bits;\n}}\n"
    )


C11 = Dialect(
    name="C11",
    types=_TYPES,
    head=_HEAD,
    kernel="static void",
    memory={"global": "", "local": "", "shared": ""},
    functions={name: f"{function}f" for name, function in MATH.items()},
    overloads=lambda function, dtype: function.removesuffix("f") if dtype == "float64" else "",
    bits=lambda source, result, value: f"tw_{result}_of_{source}({value})",
)
