"""Transposes of transposes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvm import relax

from ..expressions import permutation_of
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr


@register_pass("merge-transposes")
@dataclass(frozen=True)
class MergeTransposes(RewritePass):
    """Compose them; the identity is dropped by ``remove-identity``.

    permute_dims(permute_dims(x, a), b)  -->  permute_dims(x, a[b])
    """

    roots = ("permute_dims",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return one transpose."""
        inner = scope.call(value.args[0], "permute_dims")
        if inner is None:
            return None
        first = permutation_of(inner)
        return relax.op.permute_dims(inner.args[0], [first[axis] for axis in permutation_of(value)])
