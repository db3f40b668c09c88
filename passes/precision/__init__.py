"""The precision phase: the element types that the target computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .assign import AssignPrecision, check

if TYPE_CHECKING:
    from tvm.ir import IRModule

__all__ = ["assign_precision", "check"]


def assign_precision(module: IRModule) -> IRModule:
    """Return the module in the element types that the target computes; :func:`check` says what holds of it.

    Raises UserError for an element type that no target computes.
    """
    return AssignPrecision()(module)
