"""Transposes move down past operators that do not care for the order of axes, until they meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from ...tvm_names import is_constant, shape_of
from ..expressions import POINTWISE, axes_of, constant, is_tensor, operator_name, permutation_of, with_operands
from ..quantization import DEQUANTIZE, QUANTIZE
from ..rewrite import RewritePass, register_pass
from ..scope import Scope
from .squeeze_to_reshape import moves_only_unit_axes

if TYPE_CHECKING:
    from tvm.relax import Call, Expr

_REDUCTIONS = ("mean", "sum", "max", "min", "prod")


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


@register_pass("sink-transpose-past-pointwise")
@dataclass(frozen=True)
class SinkTransposePastPointwise(RewritePass):
    """Transpose the result of a pointwise operator instead of its operands.

    relu(permute_dims(x, a))  -->  permute_dims(relu(x), a)
    add(permute_dims(x, a), permute_dims(y, a))  -->  permute_dims(add(x, y), a)

    Every operand is transposed alike, used once, and of the result's shape; or a constant, which is transposed back; or
    so thin that to transpose it back is a reshape. A transpose ends where a matrix product, a reshape or an output
    needs it, or meets its inverse.
    """

    roots = tuple(sorted(POINTWISE))

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the transposed result."""
        tensors = [arg for arg in value.args if is_tensor(arg)]
        transposes = [call for arg in tensors if (call := scope.call(arg, "permute_dims")) is not None]
        if not transposes:
            return None
        axes = permutation_of(transposes[0])
        if len(axes) != len(shape_of(value)):
            return None
        back = [self._back(arg, axes, value, scope) if is_tensor(arg) else arg for arg in value.args]
        operands = [each for each in back if each is not None]
        if len(operands) != len(back):
            return None
        return relax.op.permute_dims(with_operands(value, operands), list(axes))

    def _back(self, arg: Expr, axes: tuple[int, ...], value: Call, scope: Scope) -> Expr | None:
        """Return an operand in the order of axes from before the transpose, None where that would cost something."""
        transpose = scope.call(arg, "permute_dims")
        if transpose is not None and permutation_of(transpose) == axes:
            alone = scope.used_once(arg) or sum(other.same_as(arg) for other in value.args) > 1
            return transpose.args[0] if alone and shape_of(arg) == shape_of(value) else None
        shape = shape_of(arg)
        aligned = (1,) * (len(axes) - len(shape)) + shape
        if is_constant(arg):
            array = scope.constant(arg)
            assert array is not None
            return arg if array.size == 1 else constant(np.transpose(array.reshape(aligned), _inverse(axes)))
        if not moves_only_unit_axes(aligned, _inverse(axes)):
            return None
        return relax.op.reshape(arg, [aligned[axis] for axis in _inverse(axes)])


@register_pass("sink-transpose-past-quantization")
@dataclass(frozen=True)
class SinkTransposePastQuantization(RewritePass):
    """Quantize, or dequantize, before the transpose.

    quantize(permute_dims(x, a), s, z)  -->  permute_dims(quantize(x, s, z), a)

    One scale for the whole tensor, and a transpose that is used once. One that meets no inverse is moved back to the
    bytes by ``sink-dequantize``.
    """

    roots = (QUANTIZE, DEQUANTIZE)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the transposed result."""
        data, *grid = value.args
        transpose = scope.call(data, "permute_dims")
        if transpose is None or not scope.used_once(data) or any(shape_of(each) not in ((), (1,)) for each in grid):
            return None
        moved = with_operands(value, [transpose.args[0], *grid])
        return relax.op.permute_dims(moved, list(permutation_of(transpose)))


@register_pass("sink-transpose-past-reduction")
@dataclass(frozen=True)
class SinkTransposePastReduction(RewritePass):
    """Reduce the axes where they were before the transpose.

    mean(permute_dims(x, a), axes)  -->  permute_dims(mean(x, a[axes]), the order of the axes that are left)

    The transpose that is left moves fewer elements, and often none.
    """

    roots = _REDUCTIONS

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the transposed reduction."""
        transpose = scope.call(value.args[0], "permute_dims")
        if transpose is None:
            return None
        axes = permutation_of(transpose)
        reduced = [axes[axis] for axis in axes_of(value)]
        keepdims = bool(value.attrs.keepdims)
        reduction = getattr(relax.op, operator_name(value))(transpose.args[0], sorted(reduced), keepdims)
        left = axes if keepdims else tuple(axis for axis in axes if axis not in reduced)
        order = [sorted(left).index(axis) for axis in left]
        return reduction if order == sorted(order) else relax.op.permute_dims(reduction, order)


@register_pass("sink-transpose-past-concat")
@dataclass(frozen=True)
class SinkTransposePastConcat(RewritePass):
    """Concatenate before the transpose.

    concat((permute_dims(x, a), permute_dims(y, a)), i)  -->  permute_dims(concat((x, y), a[i]), a)

    Every operand is transposed alike and used once.
    """

    roots = ("concat",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the transposed concatenation."""
        fields = value.args[0]
        if not isinstance(fields, relax.Tuple) or len(fields.fields) < 2:
            return None
        calls = [scope.call(each, "permute_dims") for each in fields.fields if scope.used_once(each)]
        transposes = [call for call in calls if call is not None]
        if len(transposes) != len(fields.fields) or len({permutation_of(call) for call in transposes}) != 1:
            return None
        axes = permutation_of(transposes[0])
        joined = relax.op.concat([call.args[0] for call in transposes], axis=axes[int(value.attrs.axis)])
        return relax.op.permute_dims(joined, list(axes))
