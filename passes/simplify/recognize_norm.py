"""Layer norm and RMS norm written out in means and roots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from ...tvm_names import dtype_of, shape_of
from ..expressions import axes_of, constant, is_float, operator_name
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr


@register_pass("recognize-layer-norm")
@dataclass(frozen=True)
class RecognizeLayerNorm(RewritePass):
    """Write a normalisation over the last axes as one operator.

    d = subtract(x, mean(x)); divide(d, sqrt(add(mean(multiply(d, d)), e)))  -->  nn.layer_norm(x, 1, 0, epsilon=e)

    The quotient may be a product with rsqrt, the mean of squares a ``variance``. ``fold-scale-into-norm`` takes up the
    scale and the bias that follow. Source: Ba, Kiros and Hinton, Layer Normalization, 2016.
    """

    roots = ("divide", "multiply")

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the operator."""
        for centred, deviation in _normalised(value, scope):
            difference = scope.call(centred, "subtract")
            if difference is None:
                continue
            x = difference.args[0]
            axes = _mean_axes(difference.args[1], x, scope)
            epsilon = None if axes is None else _moment_epsilon(deviation, (centred, x), axes, scope)
            if axes is not None and epsilon is not None:
                shape = [shape_of(x)[axis] for axis in axes]
                ones, zeros = constant(np.ones(shape, dtype_of(x))), constant(np.zeros(shape, dtype_of(x)))
                return relax.op.nn.layer_norm(x, ones, zeros, list(axes), epsilon)
        return None


@register_pass("recognize-rms-norm")
@dataclass(frozen=True)
class RecognizeRmsNorm(RewritePass):
    """Write a division by the root of the mean square over the last axes as one operator.

    multiply(x, rsqrt(add(mean(multiply(x, x)), e)))  -->  nn.rms_norm(x, 1, epsilon=e)

    Source: Zhang and Sennrich, Root Mean Square Layer Normalization, 2019.
    """

    roots = ("divide", "multiply")

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the operator."""
        for x, deviation in _normalised(value, scope):
            mean = scope.call(deviation, "add")
            call = None if mean is None else scope.call(mean.args[0], "mean")
            axes = None if call is None else _last_axes(axes_of(call), x)
            epsilon = None if axes is None else _moment_epsilon(deviation, (x,), axes, scope)
            if axes is not None and epsilon is not None:
                shape = [shape_of(x)[axis] for axis in axes]
                return relax.op.nn.rms_norm(x, constant(np.ones(shape, dtype_of(x))), list(axes), epsilon)
        return None


def _normalised(value: Expr, scope: Scope) -> list[tuple[Expr, Expr]]:
    """Return the pairs (x, v) for which the value is x / sqrt(v)."""
    if not is_float(value):
        return []
    left, right = value.args
    if operator_name(value) == "divide":
        root = scope.call(right, "sqrt")
        return [] if root is None else [(left, root.args[0])]
    pairs = []
    for x, inverse in ((left, right), (right, left)):
        root = scope.call(inverse, "rsqrt")
        quotient = scope.call(inverse, "divide")
        if quotient is not None and scope.scalar(quotient.args[0]) == 1.0:
            root = scope.call(quotient.args[1], "sqrt")
        if root is not None:
            pairs.append((x, root.args[0]))
    return pairs


def _last_axes(axes: tuple[int, ...], x: Expr) -> tuple[int, ...] | None:
    rank = len(shape_of(x))
    return axes if axes == tuple(range(rank - len(axes), rank)) else None


def _mean_axes(expr: Expr, x: Expr, scope: Scope) -> tuple[int, ...] | None:
    """Return the axes of mean(x) when they are the last ones and stay."""
    mean = scope.call(expr, "mean")
    if mean is None or not mean.args[0].same_as(x) or not mean.attrs.keepdims:
        return None
    return _last_axes(axes_of(mean), x)


def _moment_epsilon(expr: Expr, squared: tuple[Expr, ...], axes: tuple[int, ...], scope: Scope) -> float | None:
    """Return e of mean(d * d) + e or variance(x) + e over these axes, where ``squared`` is (d, x) or (d,) alone."""
    total = scope.call(expr, "add")
    epsilon = None if total is None else scope.scalar(total.args[1])
    moment = None if total is None else scope.call(total.args[0], "mean", "variance")
    if epsilon is None or moment is None or axes_of(moment) != axes or not moment.attrs.keepdims:
        return None
    if operator_name(moment) == "variance":
        return epsilon if len(squared) > 1 and moment.args[0].same_as(squared[1]) else None
    square = scope.call(moment.args[0], "multiply")
    if square is None or not all(arg.same_as(squared[0]) for arg in square.args):
        return None
    return epsilon
