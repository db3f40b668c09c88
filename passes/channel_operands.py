"""Operands that have an image's channels but not its rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvm import relax

from ..tvm_names import constant_value, is_constant, shape_of
from .expressions import POINTWISE, constant, is_tensor, with_operands
from .rewrite import RewritePass, register_pass

if TYPE_CHECKING:
    from tvm.relax import Expr

    from .scope import Scope


@register_pass("full-rank-channels")
@dataclass(frozen=True)
class FullRankChannels(RewritePass):
    """Give operands of three axes the fourth, where a channel block would read past their end.

    add(x: [N, 20, H, W], y: [20, 1, 1])  -->  add(x, reshape(y, [1, 20, 1, 1]))

    Only what has the image's rank can be stored in channel blocks, padded.

    Attributes:
        lanes: channels of a block.
    """

    lanes: int
    roots = tuple(sorted(POINTWISE))

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the operator on operands of full rank."""
        shape = shape_of(value)
        if len(shape) != 4 or shape[1] % self.lanes == 0 or not any(map(is_tensor, value.args)):
            return None
        short = [is_tensor(each) and len(shape_of(each)) == 3 and shape_of(each)[0] == shape[1] for each in value.args]
        if not any(short):
            return None
        operands = [_widened(each) if lacks else each for each, lacks in zip(value.args, short, strict=True)]
        return with_operands(value, operands)


def _widened(operand: Expr) -> Expr:
    shape = (1, *shape_of(operand))
    return (
        constant(constant_value(operand).reshape(shape)) if is_constant(operand) else relax.op.reshape(operand, shape)
    )
