"""Operators that only change the shape are reshapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvm import relax

from ...tvm_names import shape_of
from ..expressions import permutation_of
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr


@register_pass("squeeze-to-reshape")
@dataclass(frozen=True)
class SqueezeToReshape(RewritePass):
    """Write every operator that keeps the elements in their order as a reshape.

    squeeze(x), expand_dims(x), flatten(x), batch_flatten(x)  -->  reshape(x, shape)
    """

    roots = ("squeeze", "expand_dims", "flatten", "nn.batch_flatten")

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the reshape."""
        return relax.op.reshape(value.args[0], shape_of(value))


@register_pass("transpose-of-unit-axes-to-reshape")
@dataclass(frozen=True)
class TransposeOfUnitAxesToReshape(RewritePass):
    """A transpose that moves only axes of size one moves no element.

    permute_dims(x [1, C, 1, 1], (0, 2, 3, 1))  -->  reshape(x, [1, 1, 1, C])
    """

    roots = ("permute_dims",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the reshape when the axes longer than one keep their order."""
        operand = value.args[0]
        if not moves_only_unit_axes(shape_of(operand), permutation_of(value)):
            return None
        return relax.op.reshape(operand, shape_of(value))


def moves_only_unit_axes(shape: tuple[int, ...], axes: tuple[int, ...]) -> bool:
    """Return whether a transpose of a tensor of this shape leaves the elements where they lie."""
    longer = [axis for axis in axes if shape[axis] != 1]
    return longer == sorted(longer)
