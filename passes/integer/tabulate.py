"""Functions of one byte become tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...tvm_names import dtype_of, is_constant, shape_of
from ..byte_table import ENTRIES, NAME, byte_table
from ..expressions import POINTWISE, constant, operator_name
from ..quantization import DEQUANTIZE, QUANTIZE
from ..rewrite import RewritePass, register_pass
from ..simplify.numpy_operators import NUMPY_OPERATORS
from .byte_functions import CURVED, FUNCTIONS, dequantized, quantized
from .grid import BYTES, Grid

if TYPE_CHECKING:
    from tvm.relax import Call, Expr

    from ..scope import Scope

Array = NDArray[Any]
#: How many operators a function may have.
_LENGTH = 64


@dataclass(frozen=True)
class _Values:
    """What an expression is for each of the 256 values of a byte.

    Attributes:
        leaf: the bytes; None where the expression does not depend on any.
        values: [256] numbers, or one number.
        curved: whether anything was computed that costs more than looking it up.
    """

    leaf: Expr | None
    values: Array
    curved: bool = False


@register_pass("tabulate-bytes")
@dataclass(frozen=True)
class TabulateBytes(RewritePass):
    """Compute a function of one byte, with its roundings in between, for all 256 values now.

    quantize(multiply(d, sigmoid(d)), t, y), d = dequantize(q, s, z)
        -->  byte_table(q, [quantize(multiply(d, sigmoid(d)), t, y) for all q])

    Only where an exponential, an error function or another one of that kind is saved: sums and products are cheaper in
    the registers of the kernel before.
    """

    roots = (QUANTIZE,)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the look-up, None where the bytes are no function of one other tensor of bytes."""
        found = _Tabulation(scope, shape_of(value)).quantized(value)
        if found is None or found.leaf is None or not found.curved:
            return None
        return byte_table(found.leaf, constant(found.values.astype(dtype_of(value))))


class _Tabulation:
    """Walks from a result to the bytes that it is a function of, as far up as there is one function of one tensor."""

    def __init__(self, scope: Scope, shape: tuple[int, ...]) -> None:
        self.scope, self.shape = scope, shape
        self.known: dict[Expr, _Values | None] = {}

    def quantized(self, call: Call) -> _Values | None:
        """Return the values of a quantize."""
        grid = Grid.of(call, self.scope)
        if grid is None or not grid.single or str(call.attrs["precision"]) != "float32":
            return None
        inner = self._of(call.args[0])
        if inner is None or dtype_of(call.args[0]) != "float32" or np.isnan(inner.values).any():
            return None
        return _Values(inner.leaf, quantized(inner.values, grid), inner.curved)

    def _of(self, expr: Expr) -> _Values | None:
        if is_constant(expr):
            value = self.scope.scalar(expr)
            return None if value is None else _Values(None, np.asarray(value, dtype_of(expr)))
        if expr not in self.known:
            self.known[expr] = None
            self.known[expr] = self._defined(expr) if len(self.known) <= _LENGTH else None
        return self.known[expr]

    def _defined(self, expr: Expr) -> _Values | None:
        call = self.scope.definition(expr)
        operator = operator_name(call) if call is not None else ""
        if dtype_of(expr) in BYTES:
            return self._bytes(expr, call, operator)
        if operator == DEQUANTIZE:
            return self._dequantized(call)
        return self._pointwise(call, operator) if operator in POINTWISE else None

    def _bytes(self, expr: Expr, call: Call, operator: str) -> _Values | None:
        """Return the values of bytes: of what they are made of where that is one function, else their own."""
        earlier = self.quantized(call) if operator == QUANTIZE else None
        if operator == NAME:
            data, table = self._of(call.args[0]), self.scope.constant(call.args[1])
            earlier = (
                _Values(data.leaf, table[data.values.astype(np.uint8)], True) if data and table is not None else None
            )
        if earlier is not None and earlier.leaf is not None:
            return earlier
        own = np.arange(ENTRIES, dtype=np.uint8).astype(dtype_of(expr))
        return _Values(expr, own) if shape_of(expr) == self.shape else None

    def _dequantized(self, call: Call) -> _Values | None:
        grid, data = Grid.of(call, self.scope), call.args[0]
        if grid is None or not grid.single or dtype_of(call) != "float32":
            return None
        inner = self._of(data)
        return None if inner is None else _Values(inner.leaf, dequantized(inner.values, grid), inner.curved)

    def _pointwise(self, call: Call, operator: str) -> _Values | None:
        function: Callable[..., Array] | None = FUNCTIONS.get(operator) or NUMPY_OPERATORS.get(operator)
        operands = [self._of(each) for each in call.args if getattr(each.ty, "dtype", None)]
        if function is None or any(each is None for each in operands):
            return None
        known = [each for each in operands if each is not None]
        leaves = {each.leaf for each in known if each.leaf is not None}
        if len(leaves) > 1:
            return None
        with np.errstate(all="ignore"):
            values = function(call, [each.values for each in known]).astype(dtype_of(call))
        return _Values(next(iter(leaves), None), values, operator in CURVED or any(each.curved for each in known))
