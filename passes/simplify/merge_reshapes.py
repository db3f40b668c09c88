"""Reshapes of reshapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvm import relax

from ...tvm_names import shape_of
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr


@register_pass("merge-reshapes")
@dataclass(frozen=True)
class MergeReshapes(RewritePass):
    """Only the last shape counts.

    reshape(reshape(x, s), t)  -->  reshape(x, t)
    """

    roots = ("reshape",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return one reshape; the inner one may stay for others, as it costs nothing."""
        inner = scope.call(value.args[0], "reshape")
        return None if inner is None else relax.op.reshape(inner.args[0], shape_of(value))
