"""SiLU, also called swish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvm import relax

from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr


@register_pass("recognize-silu")
@dataclass(frozen=True)
class RecognizeSilu(RewritePass):
    """Write SiLU as one operator.

    multiply(x, sigmoid(x))  -->  nn.silu(x)

    Needs the sigmoid used once: else it is computed anyway.
    """

    roots = ("multiply",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the operator."""
        for x, gate in (value.args, reversed(value.args)):
            sigmoid = scope.call(gate, "sigmoid")
            if sigmoid is not None and sigmoid.args[0].same_as(x) and scope.used_once(gate):
                return relax.op.nn.silu(x)
        return None
