"""Arithmetic on quantized tensors: what quantize and dequantize stand around is computed on the integers themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...workload import Workload
from ..rewrite import rewrite_to_fixed_point
from ..simplify.fold_constants import FoldConstants
from ..simplify.merge_common_subexpressions import MergeCommonSubexpressions
from .drop_nan_guard import DropNanGuard
from .fold_requantization import FoldRequantization
from .integer_products import IntegerProducts
from .sink_dequantize import QuantizeBeforeConcat, RemoveRequantization, SinkDequantize
from .tabulate import TabulateBytes
from .unsigned_activations import UnsignedActivations

if TYPE_CHECKING:
    from tvm.ir import IRModule

#: Whether some template makes a kernel of this workload.
Computes = Callable[[Workload], bool]


def compute_on_integers(module: IRModule, computes: Computes) -> IRModule:
    """Return the module in which what can be computed on integers is; the rest keeps its quantize and dequantize."""
    moves = [
        RemoveRequantization(), UnsignedActivations(), SinkDequantize(), QuantizeBeforeConcat(), FoldConstants(),
        MergeCommonSubexpressions(),
    ]  # fmt: skip
    module, _ = rewrite_to_fixed_point(module, [DropNanGuard(), *moves])
    module, _ = rewrite_to_fixed_point(module, [TabulateBytes()])
    module, _ = rewrite_to_fixed_point(module, [IntegerProducts(computes)])
    return rewrite_to_fixed_point(module, [FoldRequantization()])[0]
