"""Broadcasts that the reader does by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...tvm_names import shape_of
from ..expressions import POINTWISE, is_tensor, with_operands
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr


@register_pass("drop-broadcast")
@dataclass(frozen=True)
class DropBroadcast(RewritePass):
    """Pointwise operators broadcast their operands.

    add(x, broadcast_to(y, s))  -->  add(x, y)

    Needs the other operands to give the result its shape.
    """

    roots = tuple(sorted(POINTWISE))

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the operator on the operand before the broadcast."""
        for position, arg in enumerate(value.args):
            broadcast = scope.call(arg, "broadcast_to")
            if broadcast is None:
                continue
            operands = [*value.args[:position], broadcast.args[0], *value.args[position + 1 :]]
            shapes = [shape_of(each) for each in operands if is_tensor(each)]
            if np.broadcast_shapes(*shapes) == shape_of(value):
                return with_operands(value, operands)
        return None
