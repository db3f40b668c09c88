"""Reshapes move down past pointwise operators and transposes, so that those meet what they can join."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvm import relax

from ...tvm_names import is_constant, shape_of
from ..expressions import POINTWISE, constant, is_tensor, permutation_of, with_operands
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Call, Expr

Shape = tuple[int, ...]


@register_pass("sink-reshape-past-pointwise")
@dataclass(frozen=True)
class SinkReshapePastPointwise(RewritePass):
    """Reshape the result of a pointwise operator instead of its operands.

    multiply(reshape(x, t), s)  -->  reshape(multiply(x, s), t)
    add(reshape(x, t), reshape(y, t))  -->  reshape(add(x, y), t)

    The operator then stands beside what makes x: a scale reaches the weights, an activation joins the matrix product.
    Every operand is reshaped alike and used once; or a constant that means the same beside x.
    """

    roots = tuple(sorted(POINTWISE))

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the reshaped result."""
        tensors = [arg for arg in value.args if is_tensor(arg)]
        reshapes = [call for arg in tensors if (call := scope.call(arg, "reshape")) is not None]
        if not reshapes:
            return None
        source = shape_of(reshapes[0].args[0])
        before = [self._before(arg, source, value, scope) if is_tensor(arg) else arg for arg in value.args]
        operands = [each for each in before if each is not None]
        if len(operands) != len(before):
            return None
        return relax.op.reshape(with_operands(value, operands), shape_of(value))

    def _before(self, arg: Expr, source: Shape, value: Call, scope: Scope) -> Expr | None:
        """Return an operand as it stands beside tensors of the source shape, None where there is no such."""
        reshape = scope.call(arg, "reshape")
        if reshape is not None:
            alone = scope.used_once(arg) or sum(other.same_as(arg) for other in value.args) > 1
            same = shape_of(arg) == shape_of(value) and shape_of(reshape.args[0]) == source
            return reshape.args[0] if alone and same else None
        if not is_constant(arg):
            return None
        array = scope.constant(arg)
        assert array is not None
        shape = broadcast_shape_before(array.shape, source, shape_of(value))
        return None if shape is None else constant(array.reshape(shape))


@register_pass("sink-reshape-past-transpose")
@dataclass(frozen=True)
class SinkReshapePastTranspose(RewritePass):
    """Transpose first when the reshape only adds or drops axes of size one.

    permute_dims(reshape(x [1, a, b], [a, b]), (1, 0))  -->  reshape(permute_dims(x, (0, 2, 1)), [b, a])
    """

    roots = ("permute_dims",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the reshaped transpose."""
        reshape = scope.call(value.args[0], "reshape")
        if reshape is None:
            return None
        source, target = shape_of(reshape.args[0]), shape_of(reshape)
        longer = _longer_axes(source)
        if [source[axis] for axis in longer] != [target[axis] for axis in _longer_axes(target)]:
            return None
        # The longer axes change places among themselves, those of size one stay where they are.
        partner = dict(zip(_longer_axes(target), longer, strict=True))
        moved = iter([partner[axis] for axis in permutation_of(value) if axis in partner])
        order = [next(moved) if size != 1 else axis for axis, size in enumerate(source)]
        return relax.op.reshape(relax.op.permute_dims(reshape.args[0], order), shape_of(value))


def broadcast_shape_before(shape: Shape, source: Shape, target: Shape) -> Shape | None:
    """Return the shape in which an operand broadcasts to ``source`` as it does to ``target`` after the reshape.

    There is one for single numbers, where source and target differ in axes of size one alone, and where the operand
    varies only along axes at the end that both have in common. None otherwise.
    """
    if all(size == 1 for size in shape):
        return ()
    aligned = (1,) * (len(target) - len(shape)) + shape
    if [size for size in source if size != 1] == [size for size in target if size != 1]:
        sizes = iter([aligned[axis] for axis in _longer_axes(target)])
        return tuple(next(sizes) if size != 1 else 1 for size in source)
    common = 0
    while common < min(len(source), len(target)) and source[-1 - common] == target[-1 - common]:
        common += 1
    varies = any(size != 1 for size in aligned[: len(target) - common])
    return None if varies or len(shape) > len(target) else aligned[len(target) - common :]


def _longer_axes(shape: Shape) -> list[int]:
    return [axis for axis, size in enumerate(shape) if size != 1]
