"""Which operators read quantized tensors and compute in floats all the same, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from ...tvm_names import dtype_of, is_constant, shape_of
from ..expressions import POINTWISE, operands_of, operator_name
from ..quantization import DEQUANTIZE, QUANTIZE
from ..scope import Scope
from .grid import BYTES, Grid

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.relax import Call, Expr

_PRODUCTS = ("nn.conv1d", "nn.conv2d", "nn.conv2d_transpose", "nn.conv3d", "matmul")
#: Operators that only pass a tensor on.
_CARRIERS = frozenset(("reshape", "permute_dims", "expand_dims", "squeeze", "tuple", QUANTIZE, DEQUANTIZE))


def left_in_floats(module: IRModule) -> list[tuple[str, str]]:
    """Return the variables of ``main`` that are computed in floats from dequantized operands, each with the reason.

    Sums, activations and other pointwise operators are not named: they compute in floats in any case, in registers.

    Args:
        module: after what can be computed on integers is.
    """
    scope = Scope(module["main"])
    found = []
    for binding in scope.pending:
        reason = _reason(binding.value, scope)
        if reason:
            found.append((str(binding.var.name), reason))
        scope.bind(binding.var, binding.value)
    return found


def _reason(value: Expr, scope: Scope) -> str | None:
    operator = operator_name(value)
    if not operator or operator in POINTWISE or operator in _CARRIERS:
        return None
    calls = {each: _dequantize(each, scope) for each in _tensors(value)}
    if all(call is None for call in calls.values()):
        return None
    if operator in _PRODUCTS:
        return _of_product(operator, calls, scope)
    return f"{operator.removeprefix('nn.').removeprefix('tilewright.')} is computed in floats"


def _tensors(value: Expr) -> list[Expr]:
    fields = [each for operand in operands_of(value) for each in _fields(operand)]
    return [each for each in fields if isinstance(getattr(each, "ty", None), relax.TensorType)]


def _fields(operand: Expr) -> list[Expr]:
    return list(operand.fields) if isinstance(operand, relax.Tuple) else [operand]


def _dequantize(expr: Expr, scope: Scope) -> Call | None:
    """Return the dequantize that a tensor comes from, by way of operators that only pass it on."""
    while (carrier := scope.call(expr, "permute_dims", "reshape")) is not None:
        expr = carrier.args[0]
    return scope.call(expr, DEQUANTIZE)


def _grid_problem(call: Call, scope: Scope) -> str | None:
    """Return why nothing is computed on the integers of a dequantize, None where something could be."""
    if Grid.of(call, scope) is not None:
        return None
    dtype = dtype_of(call.args[0])
    if dtype not in BYTES:
        return f"integers of type {dtype} are dequantized first: sums are of products of bytes"
    if call.attrs["block_size"]:
        return "its scales are of blocks, within which sums would have to end"
    if not all(is_constant(each) for each in call.args[1:]):
        return "its scale or zero point is known to a run only"
    return "its scales are not positive numbers of type float32"


def _of_product(operator: str, calls: dict[Expr, Call | None], scope: Scope) -> str:
    for role, call in zip(("data", "weights"), calls.values(), strict=False):
        if call is None:
            return f"its {role} are not quantized"
        problem = _grid_problem(call, scope)
        if problem:
            return f"of its {role}: {problem}"
    if len(calls) < 2:
        return "both of its operands are one tensor"
    data, weights = (call for call in calls.values() if call is not None)
    grids = Grid.of(data, scope), Grid.of(weights, scope)
    assert grids[0] is not None
    assert grids[1] is not None
    if not grids[0].single:
        return "its data have several scales"
    array = scope.constant(weights.args[0])
    if array is None:
        return "its second operand is no constant: products of two activations are computed in floats"
    centred = array.astype(np.int64) - grids[1].spread(grids[1].zero, array.ndim)
    if centred.min() < -128 or centred.max() > 127:
        return "its weights less their zero points are no signed bytes"
    if not grids[1].single and grids[1].axis != (1 if operator == "matmul" else 0):
        return f"the scales of its weights lie along axis {grids[1].axis}, which is summed over"
    shape = list(shape_of(weights.args[0]))
    return f"the target has no kernel on bytes for {operator.removeprefix('nn.')} with weights of shape {shape}"
