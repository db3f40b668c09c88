"""Operators on constants are computed now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from ...tvm_names import dtype_of, free_symbols, is_constant, shape_of
from ..expressions import constant, is_tensor, operator_name
from ..rewrite import RewritePass, register_pass
from ..scope import Scope
from .numpy_operators import NUMPY_OPERATORS

if TYPE_CHECKING:
    from tvm.relax import Expr

#: Element types numpy computes as the target would.
_DTYPES = frozenset(
    ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
)


@register_pass("fold-constants")
@dataclass(frozen=True)
class FoldConstants(RewritePass):
    """Compute an operator whose operands are all constants.

    permute_dims(constant)  -->  constant

    Attributes:
        growth: how many elements the result may have beyond those of the operands together, so that a fill or a
            broadcast does not blow up the library.
    """

    growth: int = 1 << 14
    roots = ("*",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the constant numpy computes; None where it has no row or cannot tell what the target would compute."""
        evaluate = NUMPY_OPERATORS.get(operator_name(value))
        if evaluate is None or not is_tensor(value) or dtype_of(value) not in _DTYPES:
            return None
        operands = [each for arg in value.args for each in _fields(arg) if is_tensor(each)]
        if not all(is_constant(each) and dtype_of(each) in _DTYPES for each in operands):
            return None
        if free_symbols(value):
            return None
        if np.prod(shape_of(value)) > sum(np.prod(shape_of(each)) for each in operands) + self.growth:
            return None
        arrays = [array for each in operands if (array := scope.constant(each)) is not None]
        try:
            with np.errstate(all="ignore"):
                folded = evaluate(value, arrays).astype(dtype_of(value), copy=False)
        except NotImplementedError:
            return None
        return constant(folded)


def _fields(expr: Expr) -> list[Expr]:
    return list(expr.fields) if isinstance(expr, relax.Tuple) else [expr]
