"""Which values a tensor can hold, by interval arithmetic over the expressions that compute it.

    Clip(x, 0, 64) + 1  -->  from 1 to 65

A size that the data decides is bounded where this finds a bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import relax

from ....dims import bounds
from ....registry import Registry
from ....tvm_names import constant_value, dtype_of, is_constant, shape_of

if TYPE_CHECKING:
    from tvm.relax import Call, Expr

#: The least and the greatest value; infinite where nothing is known.
Range = tuple[float, float]
#: What defines a variable, None for parameters.
Definition = Callable[[Any], Any]

_ANY: Range = (-math.inf, math.inf)
#: How far definitions are followed.
_DEPTH = 40
_Row = Callable[["Call", Callable[["Expr"], Range]], Range]
_ROWS: Registry[_Row] = Registry("operator with a range")


def value_range(expr: Expr, definition: Definition, depth: int = _DEPTH) -> Range:
    """Return the least and the greatest value of a tensor's elements, infinite where nothing bounds them."""
    if is_constant(expr):
        array = constant_value(expr)
        return (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    known = _of_type(dtype_of(expr))
    value = definition(expr) if isinstance(expr, relax.Var) else expr
    if value is not None and is_constant(value):
        return value_range(value, definition)
    name = str(getattr(getattr(value, "op", None), "name", "")).removeprefix("relax.")
    row = _ROWS.get(name)
    if depth == 0 or row is None:
        return known
    found = row(value, lambda operand: value_range(operand, definition, depth - 1))
    return max(found[0], known[0]), min(found[1], known[1])


def _of_type(dtype: str) -> Range:
    if dtype == "bool":
        return 0.0, 1.0
    kind = np.dtype(dtype) if dtype.startswith(("int", "uint")) else None
    if kind is None or kind.itemsize > 2:
        return (0.0, math.inf) if kind is not None and kind.kind == "u" else _ANY
    return float(np.iinfo(kind).min), float(np.iinfo(kind).max)


@_ROWS.register(
    "reshape", "squeeze", "expand_dims", "permute_dims", "broadcast_to", "strided_slice", "take", "max", "min",
    "tilewright.bind_sizes", "flip", "sort",
)  # fmt: skip
def _of_first(call: Call, of: Callable[[Expr], Range]) -> Range:
    return of(call.args[0])


@_ROWS.register("astype")
def _cast(call: Call, of: Callable[[Expr], Range]) -> Range:
    low, high = of(call.args[0])
    # What does not fit the type wraps around, and then nothing is known but the type.
    room = np.iinfo(dtype_of(call)) if dtype_of(call).startswith(("int", "uint")) else None
    if room is not None and not (room.min <= low and high <= room.max):
        return _ANY
    return (math.trunc(low), math.trunc(high)) if room is not None else (low, high)


def _pairs(combine: Callable[[float, float], float]) -> _Row:
    """Return a row of an operator whose extremes are among those of its operands' ends."""

    def row(call: Call, of: Callable[[Expr], Range]) -> Range:
        left, right = (of(each) for each in call.args)
        if not all(map(math.isfinite, (*left, *right))):
            return _ANY
        ends = [combine(a, b) for a in left for b in right]
        return min(ends), max(ends)

    return row


_ROWS.add("multiply", _pairs(lambda a, b: a * b))


@_ROWS.register("add")
def _add(call: Call, of: Callable[[Expr], Range]) -> Range:
    left, right = (of(each) for each in call.args)
    return left[0] + right[0], left[1] + right[1]


@_ROWS.register("subtract")
def _subtract(call: Call, of: Callable[[Expr], Range]) -> Range:
    left, right = (of(each) for each in call.args)
    return left[0] - right[1], left[1] - right[0]


@_ROWS.register("minimum")
def _minimum(call: Call, of: Callable[[Expr], Range]) -> Range:
    left, right = (of(each) for each in call.args)
    return min(left[0], right[0]), min(left[1], right[1])


@_ROWS.register("maximum")
def _maximum(call: Call, of: Callable[[Expr], Range]) -> Range:
    left, right = (of(each) for each in call.args)
    return max(left[0], right[0]), max(left[1], right[1])


@_ROWS.register("clip")
def _clip(call: Call, of: Callable[[Expr], Range]) -> Range:
    low, high = of(call.args[0])
    least, most = (float(each.value) for each in call.args[1:3])
    return min(max(low, least), most), max(min(high, most), least)


@_ROWS.register("floor_divide", "divide")
def _divide(call: Call, of: Callable[[Expr], Range]) -> Range:
    (low, high), (least, most) = (of(each) for each in call.args)
    if not least >= 1 or not all(map(math.isfinite, (low, high, most))):
        return _ANY
    ends = [side / by for side in (low, high) for by in (least, most)]
    return math.floor(min(ends)), math.ceil(max(ends))


@_ROWS.register("abs")
def _absolute(call: Call, of: Callable[[Expr], Range]) -> Range:
    low, high = of(call.args[0])
    return 0.0, max(abs(low), abs(high))


@_ROWS.register("floor", "ceil", "round")
def _rounded(call: Call, of: Callable[[Expr], Range]) -> Range:
    low, high = of(call.args[0])
    return (math.floor(low) if math.isfinite(low) else low), (math.ceil(high) if math.isfinite(high) else high)


@_ROWS.register("where")
def _where(call: Call, of: Callable[[Expr], Range]) -> Range:
    return _union([of(each) for each in call.args[1:]])


@_ROWS.register("concat")
def _concat(call: Call, of: Callable[[Expr], Range]) -> Range:
    return _union([of(each) for each in call.args[0].fields])


def _union(ranges: list[Range]) -> Range:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


@_ROWS.register("argmax", "argmin")
def _place(call: Call, _: Callable[[Expr], Range]) -> Range:
    shape = shape_of(call.args[0])
    length = math.prod(shape) if call.attrs.axis is None else shape[int(call.attrs.axis)]
    return 0.0, bounds(length)[1] - 1


@_ROWS.register("sum")
def _sum(call: Call, of: Callable[[Expr], Range]) -> Range:
    low, high = of(call.args[0])
    shape = shape_of(call.args[0])
    axes = range(len(shape)) if call.attrs.axis is None else [int(each) for each in call.attrs.axis]
    most = math.prod(bounds(shape[axis])[1] for axis in axes)
    return min(low * most, low) if most else 0.0, max(high * most, high) if most else 0.0


@_ROWS.register("arange")
def _arange(call: Call, _: Callable[[Expr], Range]) -> Range:
    (length,) = shape_of(call)
    start, _stop, step = (each.value if hasattr(each, "value") else None for each in call.args[:3])
    if start is None or step is None:
        return _ANY
    ends = (float(start), float(start) + float(step) * max(bounds(length)[1] - 1, 0))
    return min(ends), max(ends)
