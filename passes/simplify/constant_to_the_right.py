"""Constants stand at the right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...tvm_names import is_constant
from ..expressions import COMMUTATIVE, with_operands
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr


@register_pass("constant-to-the-right")
@dataclass(frozen=True)
class ConstantToTheRight(RewritePass):
    """Write the constant operand of a commutative operator second, so that later rewrites need one form only.

    add(c, x)  -->  add(x, c)
    """

    roots = tuple(sorted(COMMUTATIVE))

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the call with its operands swapped."""
        left, right = value.args
        return with_operands(value, [right, left]) if is_constant(left) and not is_constant(right) else None
