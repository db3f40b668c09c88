"""The precision phase: the element types that the target computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..expressions import operator_name
from ..integer import Computes, compute_on_integers
from ..quantization import DEQUANTIZE, QUANTIZE
from ..rewrite import rewrite_to_fixed_point
from ..simplify.fold_constants import FoldConstants
from ..spec import bindings_of
from .assign import AssignPrecision, check
from .decompose_quantization import DecomposeQuantization
from .narrow_storage import NarrowStorage, has_narrow

if TYPE_CHECKING:
    from tvm.ir import IRModule

__all__ = ["assign_precision", "check"]


def assign_precision(module: IRModule, computes: Computes = lambda _: False) -> IRModule:
    """Return the module in the element types that the target computes; :func:`check` says what holds of it.

    Args:
        computes: whether the target has a kernel for a workload on integers; those it has not are computed in floats.

    Raises UserError for an element type that no target computes.
    """
    if _calls(module, QUANTIZE, DEQUANTIZE):
        module = compute_on_integers(module, computes)
        module = rewrite_to_fixed_point(module, [DecomposeQuantization(), FoldConstants()])[0]
    if has_narrow(module):
        module = rewrite_to_fixed_point(NarrowStorage()(module), [FoldConstants()])[0]
    return AssignPrecision()(module)


def _calls(module: IRModule, *operators: str) -> bool:
    return any(operator_name(value) in operators for _, value in bindings_of(module))
