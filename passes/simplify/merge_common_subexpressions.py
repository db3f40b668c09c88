"""Equal values are computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr


@register_pass("merge-common-subexpressions")
@dataclass(frozen=True)
class MergeCommonSubexpressions(RewritePass):
    """Read the value that is already bound to an equal call instead of computing it again.

    a = relu(x); b = relu(x); add(a, b)  -->  a = relu(x); add(a, a)

    Equal are the same operator with equal attributes on the same operands; small constants are compared by value.
    """

    roots = ("*",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the variable."""
        return scope.equal(value)
