"""Compute in the element types the model file says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvm import relax

from ...errors import UserError
from ...tvm_names import dtype_of
from ..expressions import is_tensor, operands_of, operator_name
from ..rewrite import Pass, register_pass
from ..spec import bindings_of, check_main_form

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.relax import Expr

#: Element types that generated code computes on every target; half precision by widening where the machine has none.
COMPUTED = frozenset(
    (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64",
    )
)  # fmt: skip
#: Element types that tensors of float32 are stored in.
STORED = frozenset({"bfloat16"})


@register_pass("assign-precision")
@dataclass(frozen=True)
class AssignPrecision(Pass):
    """Leave every tensor in the element type it has, and refuse those that no target computes.

    A float64 model stays float64: whoever stored those digits wants them.
    """

    def __call__(self, module: IRModule) -> IRModule:
        """Return the module as it is. Raises UserError naming the first tensor of a type that cannot be computed."""
        for name, dtype in _element_types(module):
            if dtype not in COMPUTED:
                raise UserError(
                    f"'{name}' holds elements of type {dtype}, which no target computes: convert the model to float32"
                )
        return module


def check(module: IRModule) -> None:
    """Raise AssertionError when ``main`` is not in its form or holds an element type that no target computes."""
    check_main_form(module)
    for name, dtype in _element_types(module):
        assert dtype in COMPUTED | STORED, f"'{name}' is {dtype}"


def _element_types(module: IRModule) -> list[tuple[str, str]]:
    """Return the element type of every tensor of ``main``, with the name of the binding that makes or reads it."""
    found = [(str(param.name), dtype_of(param)) for param in module["main"].params if is_tensor(param)]
    for var, value in bindings_of(module):
        found += [(str(var.name), dtype_of(each)) for each in (var, *_leaves(value)) if is_tensor(each)]
        if isinstance(var.ty, relax.TupleType):
            found += [(str(var.name), str(field.dtype)) for field in var.ty.fields]
    return found


def _leaves(expr: Expr) -> list[Expr]:
    leaves: list[Expr] = []
    for operand in operands_of(expr):
        leaves += _leaves(operand) if operator_name(operand) else [operand]
    return leaves
