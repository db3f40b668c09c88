"""Chains of additions, or of multiplications, by constants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tvm_names import shape_of
from ..expressions import constant, is_float, operator_name, with_operands
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr

_MERGED: dict[str, Callable[..., Any]] = {"add": np.add, "multiply": np.multiply}


@register_pass("merge-constant-operands")
@dataclass(frozen=True)
class MergeConstantOperands(RewritePass):
    """Combine the constants.

    add(add(x, b), c)  -->  add(x, b + c);  multiply(multiply(x, s), t)  -->  multiply(x, s * t)

    Needs the inner value used once and the combined constant no larger than the larger of the two. In floating point
    alone; the constants are combined in float64 and must stay finite.
    """

    roots = tuple(_MERGED)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return one operation."""
        inner = scope.call(value.args[0], operator_name(value))
        outer_constant = scope.constant(value.args[1])
        if inner is None or outer_constant is None or not scope.used_once(value.args[0]) or not is_float(value):
            return None
        inner_constant = scope.constant(inner.args[1])
        if inner_constant is None or shape_of(inner.args[0]) != shape_of(value):
            return None
        merge = _MERGED[operator_name(value)]
        with np.errstate(all="ignore"):
            wide = merge(inner_constant.astype(np.float64), outer_constant.astype(np.float64))
            merged = wide.astype(inner_constant.dtype)
        if merged.size > max(inner_constant.size, outer_constant.size) or not np.all(np.isfinite(merged)):
            return None
        return with_operands(value, [inner.args[0], constant(merged)])
