"""The weights of bare C: a struct of typed arrays, whose numbers are right on either byte order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .plan import Plan
from .source.c11 import C11
from .source.expressions import float_text

#: Weights above this are not written as an array: C compilers take minutes and gigabytes for it.
MOST_ARRAY_BYTES = 8 << 20

_PER_LINE = 8
_INTEGERS_OF = {1: "uint8", 2: "uint16", 4: "uint32", 8: "uint64"}


def weights_struct(plan: Plan, name: str) -> str:
    """Return the struct's declaration: members at the offsets that the plan says, with padding between."""
    lines = [f"struct {name}_weights {{"]
    end = 0
    for index, (weight, offset) in enumerate(zip(plan.weights, plan.weight_offsets, strict=True)):
        if offset > end:
            lines.append(f"  uint8_t padding_{index}[{offset - end}];")
        array = _plain(weight.load())
        if not array.size:
            continue
        lines.append(f"  {C11.types[str(array.dtype)]} w{index}[{array.size}];")
        end = offset + array.nbytes
    return "\n".join([*lines, "};\n"])


def weights_source(plan: Plan, name: str) -> Iterator[str]:
    """Yield the struct's definition, a piece for each constant."""
    yield f"const struct {name}_weights {name}_weights = {{\n"
    for index, weight in enumerate(plan.weights):
        if not weight.size:
            continue
        yield f"  .w{index} = {{\n"
        texts = _texts(_plain(weight.load()))
        for start in range(0, len(texts), _PER_LINE):
            yield f"    {', '.join(texts[start : start + _PER_LINE])},\n"
        yield "  },\n"
    yield "};\n"


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array, one-dimensional, in a type of C: types that C lacks as their bits."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat if str(flat.dtype) in C11.types else flat.view(_INTEGERS_OF[flat.dtype.itemsize])


def _texts(array: NDArray[Any]) -> list[str]:
    if array.dtype.kind == "f":
        return [float_text(each, str(array.dtype)) for each in array.astype("float64").tolist()]
    if array.dtype.kind == "u":
        return [f"{each}{'ULL' if array.dtype.itemsize == 8 else 'u'}" for each in array.tolist()]
    lowest = -(1 << (8 * array.dtype.itemsize - 1))
    # The most negative number has no literal of its own.
    return [f"({each + 1} - 1)" if each == lowest else str(int(each)) for each in array.tolist()]
