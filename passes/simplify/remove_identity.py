"""Operators that return their operand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from ...registry import Registry
from ...tvm_names import dtype_of, is_constant, shape_of
from ..expressions import TUPLE_GET_ITEM, ints, is_tensor, permutation_of
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Call, Expr

_IDENTITIES: Registry[Callable[[Call, Scope], bool]] = Registry("identity")

#: Constants above this many elements are not searched for zeros and ones.
_SEARCHED_ELEMENTS = 1 << 16


@register_pass("remove-identity")
@dataclass(frozen=True)
class RemoveIdentity(RewritePass):
    """Drop an operator whose result is its first operand.

    reshape(x, shape of x), astype(x, dtype of x), add(x, 0), multiply(x, 1), concat((x,)), ...  -->  x

    add(x, 0) turns a negative zero into a positive one; that difference is given up.
    """

    roots = (
        "reshape", "astype", "permute_dims", "broadcast_to", "strided_slice", "concat", "nn.pad", "tile", "repeat",
        "add", "subtract", "multiply", "divide", "power", "mean", "sum", "max", "min", "prod",
    )  # fmt: skip

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the operand."""
        operand = _only_field(value.args[0], scope)
        if operand is None or not is_tensor(operand) or shape_of(operand) != shape_of(value):
            return None
        if dtype_of(operand) != dtype_of(value):
            return None
        row = _IDENTITIES.get(str(value.op.name).removeprefix("relax."))
        return operand if row is None or row(value, scope) else None


@register_pass("remove-dropout")
@dataclass(frozen=True)
class RemoveDropout(RewritePass):
    """Dropout does nothing at inference.

    nn.dropout(x)[0]  -->  x
    """

    roots = (TUPLE_GET_ITEM,)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return what is dropped out of."""
        dropout = scope.call(value.tuple_value, "nn.dropout")
        return dropout.args[0] if dropout is not None and value.index == 0 else None


@register_pass("remove-tuple-access")
@dataclass(frozen=True)
class RemoveTupleAccess(RewritePass):
    """A field of a known tuple is that field.

    (a, b)[1]  -->  b;  split(x, 1)[0]  -->  x
    """

    roots = (TUPLE_GET_ITEM,)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the field."""
        defined = scope.definition(value.tuple_value)
        if isinstance(defined, relax.Tuple):
            return defined.fields[value.index]
        split = scope.call(value.tuple_value, "split")
        whole = split is not None and len(split.ty.fields) == 1
        return split.args[0] if split is not None and whole else None


def _only_field(expr: Expr, scope: Scope) -> Expr | None:
    """Return a tensor operand, or the only field of a tuple operand."""
    defined = scope.definition(expr)
    fields = expr if isinstance(expr, relax.Tuple) else defined
    if isinstance(fields, relax.Tuple):
        return fields.fields[0] if len(fields.fields) == 1 else None
    return expr


def _all_equal(expr: Expr, number: float, scope: Scope) -> bool:
    """Return whether an operand is a constant all of whose elements are this number."""
    if not is_constant(expr) or np.prod(shape_of(expr)) > _SEARCHED_ELEMENTS:
        return False
    array = scope.constant(expr)
    return array is not None and bool(np.all(array == number))


@_IDENTITIES.register("add", "subtract")
def _adds_zero(call: Call, scope: Scope) -> bool:
    return _all_equal(call.args[1], 0, scope)


@_IDENTITIES.register("multiply", "divide", "power")
def _multiplies_by_one(call: Call, scope: Scope) -> bool:
    return _all_equal(call.args[1], 1, scope)


@_IDENTITIES.register("permute_dims")
def _keeps_order(call: Call, _: Scope) -> bool:
    axes = permutation_of(call)
    return axes == tuple(range(len(axes)))


@_IDENTITIES.register("strided_slice")
def _takes_all(call: Call, _: Scope) -> bool:
    return len(call.args) < 5 or all(int(stride) == 1 for stride in call.args[4].fields)


@_IDENTITIES.register("nn.pad")
def _pads_nothing(call: Call, _: Scope) -> bool:
    return not any(ints(call.attrs.pad_width))
