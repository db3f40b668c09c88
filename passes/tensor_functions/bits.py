"""The bits of elements taken as another type."""

from __future__ import annotations

from tvm import te, tirx

from .operator import tensor_function


@tensor_function("bitcast")
def bitcast(x: te.Tensor, *, dtype: str) -> te.Tensor:
    """x in another element type of the same width, its bits unchanged."""
    return te.compute(x.shape, lambda *at: _reinterpreted(x(*at), dtype), "bits")


def _reinterpreted(value: tirx.PrimExpr, dtype: str) -> tirx.PrimExpr:
    if value.ty.dtype == "bool":
        value = tirx.Cast("uint8", value)
    if dtype == "bool":
        return tirx.NE(tirx.reinterpret("uint8", value), tirx.const(0, "uint8"))
    return tirx.reinterpret(dtype, value)
