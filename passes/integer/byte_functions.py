"""What numpy computes for operators on the 256 values of a byte: those that constant folding does not know."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..simplify.numpy_operators import Evaluate

if TYPE_CHECKING:
    from tvm.relax import Call

    from .grid import Grid

Array = NDArray[Any]
_RANGES = {"uint8": (0, 255), "int8": (-128, 127)}


def quantized(values: Array, grid: Grid) -> Array:
    """Return float32 numbers on a grid with one scale, as quantize defines it."""
    low, high = _RANGES[grid.dtype]
    with np.errstate(over="ignore"):
        whole = np.round(values.astype(np.float32) / grid.scale) + np.float32(grid.zero)
    return np.asarray(np.clip(whole, low, high).astype(grid.dtype))


def dequantized(values: Array, grid: Grid) -> Array:
    """Return the numbers that bytes on a grid with one scale stand for."""
    return np.asarray((values.astype(np.float32) - np.float32(grid.zero)) * grid.scale)


def _in_double(function: Callable[[Array], Array]) -> Evaluate:
    return lambda _, arrays: function(arrays[0].astype(np.float64))


def _erf(x: Array) -> Array:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _gelu_tanh(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def _clip(call: Call, arrays: Sequence[Array]) -> Array:
    low, high = (float(each.value) for each in call.args[1:])
    return np.asarray(np.clip(arrays[0], low, high))


#: Operators by name, as NUMPY_OPERATORS; the caller casts to the call's element type.
FUNCTIONS: dict[str, Evaluate] = {
    "erf": _in_double(_erf),
    "exp": _in_double(np.exp),
    "log": _in_double(np.log),
    "tanh": _in_double(np.tanh),
    "sinh": _in_double(np.sinh),
    "cosh": _in_double(np.cosh),
    "sigmoid": _in_double(_sigmoid),
    "nn.silu": _in_double(lambda x: x * _sigmoid(x)),
    "nn.gelu": _in_double(lambda x: 0.5 * x * (1 + _erf(x * math.sqrt(0.5)))),
    "nn.gelu_tanh": _in_double(_gelu_tanh),
    "clip": _clip,
    "isnan": lambda _, arrays: np.isnan(arrays[0]),
}
#: Those whose polynomials cost a kernel more than a look-up.
CURVED = frozenset(FUNCTIONS) - {"clip", "isnan"} | {"power", "sin", "cos"}
