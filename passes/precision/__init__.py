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
from .lower import LowerPrecision
from .narrow_storage import NarrowStorage, has_narrow
from .weights_in_few_bits import LookupsOfFewBits, ProductsOfFewBits, Stored

if TYPE_CHECKING:
    from tvm.ir import IRModule

__all__ = ["assign_precision", "check"]

#: Element types in memory by the names of precisions.
_STORED = {"bf16": "bfloat16", "fp16": "float16"}


def assign_precision(
    module: IRModule,
    computes: Computes = lambda _: False,
    precision: str = "fp32",
    exempt: frozenset[str] = frozenset(),
    left: list[tuple[str, str]] | None = None,
) -> IRModule:
    """Return the module in the element types that the target computes; :func:`check` says what holds of it.

    Args:
        computes: whether the target has a kernel for a workload on integers; those it has not are computed in floats.
        precision: "fp32" leaves types as they are, "bf16" and "fp16" store float32 tensors in 16 bits.
        exempt: names of variables that are computed from unrounded operands all the same.
        left: takes the names of variables that quantized tensors go into and floats are computed for, with the reason.

    Raises UserError for an element type that no target computes.
    """
    if _calls(module, QUANTIZE, DEQUANTIZE):
        module = compute_on_integers(module, computes, left)
        stored: Stored = {}
        for keep in (ProductsOfFewBits(computes, stored), LookupsOfFewBits(computes, stored)):
            module = rewrite_to_fixed_point(module, [keep])[0]
        module = rewrite_to_fixed_point(module, [DecomposeQuantization(), FoldConstants()])[0]
    if has_narrow(module):
        module = rewrite_to_fixed_point(NarrowStorage()(module), [FoldConstants()])[0]
    module = AssignPrecision()(module)
    return LowerPrecision(_STORED[precision], exempt)(module) if precision in _STORED else module


def _calls(module: IRModule, *operators: str) -> bool:
    return any(operator_name(value) in operators for _, value in bindings_of(module))
