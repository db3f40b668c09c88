"""Splits as slices, of which each can be read in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvm import relax

from ...tvm_names import shape_of
from ..expressions import TUPLE_GET_ITEM
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr


@register_pass("split-to-slices")
@dataclass(frozen=True)
class SplitToSlices(RewritePass):
    """A part of a split is a slice.

    split(x, [4, 10], axis)[1]  -->  strided_slice(x, [axis], [4], [10])
    """

    roots = (TUPLE_GET_ITEM,)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the slice for a field of a split."""
        split = scope.call(value.tuple_value, "split")
        if split is None:
            return None
        axis = int(split.attrs.axis) % len(shape_of(split.args[0]))
        sizes = [int(each.shape.values[axis]) for each in split.ty.fields]
        begin = sum(sizes[: value.index])
        return relax.op.strided_slice(split.args[0], [axis], [begin], [begin + sizes[value.index]])
