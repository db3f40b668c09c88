"""Signed bytes become unsigned ones: products take unsigned data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..quantization import DEQUANTIZE, QUANTIZE
from ..rewrite import RewritePass, register_pass
from .grid import Grid

if TYPE_CHECKING:
    from tvm.relax import Expr

    from ..scope import Scope

#: What is added to a signed byte.
SHIFT = 128


@register_pass("unsigned-activations")
@dataclass(frozen=True)
class UnsignedActivations(RewritePass):
    """Quantize to unsigned bytes, the zero point moved along.

    dequantize(quantize(x, s, z: int8), s, z)  -->  dequantize(quantize(x, s, z + 128: uint8), s, z + 128)
    """

    roots = (DEQUANTIZE,)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the dequantize of the unsigned bytes."""
        made, read = scope.call(value.args[0], QUANTIZE), Grid.of(value, scope)
        before = Grid.of(made, scope) if made is not None else None
        if read is None or before is None or made is None or before.dtype != "int8":
            return None
        if str(made.attrs["precision"]) != "float32":
            return None
        unsigned = replace(before, zero=np.asarray(before.zero + SHIFT), dtype="uint8").quantized(made.args[0])
        return replace(read, zero=np.asarray(read.zero + SHIFT), dtype="uint8").dequantized(unsigned)
