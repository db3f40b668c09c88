"""The only module that touches TVM names which move between releases (pinned: apache-tvm 0.27.0.post1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def is_constant(expr: Any) -> bool:
    """Return whether a Relax expression is a tensor constant."""
    from tvm.ir import GenericConst

    return isinstance(expr, GenericConst)


def constant_value(expr: Any) -> NDArray[np.generic]:
    """Return the array of a Relax constant."""
    array: NDArray[np.generic] = expr.value.numpy()
    return array


def shape_of(expr: Any) -> tuple[int, ...]:
    """Return the static shape of a Relax tensor expression."""
    return tuple(int(dim) for dim in expr.ty.shape.values)


def dtype_of(expr: Any) -> str:
    """Return the element type of a Relax tensor expression, in numpy's spelling."""
    return str(expr.ty.dtype)


def with_type(expr: Any, ty: Any) -> Any:
    """Return a Relax expression built by hand after setting its type, which its constructor does not infer."""
    from tvm.relax.expr import _update_type

    _update_type(expr, ty)
    return expr


def register_operator(name: str, description: str, infer_type: Any) -> None:
    """Register a pure Relax operator of our own.

    Args:
        infer_type: from a call and the builder to the type of its result.
    """
    from tvm.ir import op

    op._ffi_api.RegisterOp(name, description)
    op.register_op_attr(name, "FInferType", infer_type)
    op.register_op_attr(name, "FPurity", True)
