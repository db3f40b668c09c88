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
from .left_in_floats import left_in_floats
from .sink_dequantize import QuantizeBeforeConcat, RemoveRequantization, SinkDequantize
from .tabulate import TabulateBytes
from .unsigned_activations import UnsignedActivations

if TYPE_CHECKING:
    from tvm.ir import IRModule

#: Whether some template makes a kernel of this workload.
Computes = Callable[[Workload], bool]


def compute_on_integers(module: IRModule, computes: Computes, left: list[tuple[str, str]] | None = None) -> IRModule:
    """Return the module in which what can be computed on integers is; the rest keeps its quantize and dequantize.

    Args:
        left: takes what is left in floats, as :func:`.left_in_floats.left_in_floats` tells it.
    """
    moves = [
        RemoveRequantization(), UnsignedActivations(), SinkDequantize(), QuantizeBeforeConcat(), FoldConstants(),
        MergeCommonSubexpressions(),
    ]  # fmt: skip
    module, _ = rewrite_to_fixed_point(module, [DropNanGuard(), *moves])
    module, _ = rewrite_to_fixed_point(module, [TabulateBytes()])
    module, _ = rewrite_to_fixed_point(module, [IntegerProducts(computes)])
    module, _ = rewrite_to_fixed_point(module, [FoldRequantization()])
    if left is not None:
        left += left_in_floats(module)
    return module
