"""Pools whose window is the whole image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvm import relax

from ...tvm_names import shape_of
from ..expressions import ints, operator_name
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr

_REDUCTIONS = {"nn.avg_pool2d": relax.op.mean, "nn.max_pool2d": relax.op.max}


@register_pass("global-pool-to-reduction")
@dataclass(frozen=True)
class GlobalPoolToReduction(RewritePass):
    """Write a pool over all positions as a reduction.

    avg_pool2d(x, window=(H, W))  -->  mean(x, axes=(2, 3), keepdims=True), and max_pool2d as max

    Needs no padding and one window.
    """

    roots = tuple(_REDUCTIONS)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the reduction."""
        attrs = value.attrs
        whole = shape_of(value.args[0])[2:]
        if attrs.layout != "NCHW" or any(ints(attrs.padding)) or ints(attrs.pool_size) != whole:
            return None
        if set(ints(attrs.dilation)) != {1} or shape_of(value)[2:] != (1, 1):
            return None
        return _REDUCTIONS[operator_name(value)](value.args[0], [2, 3], True)


@register_pass("adaptive-pool-to-pool")
@dataclass(frozen=True)
class AdaptivePoolToPool(RewritePass):
    """Write an adaptive average as a plain one where all windows are equal.

    adaptive_avg_pool2d(x, (1, 1))  -->  mean(x, axes=(2, 3), keepdims=True)
    adaptive_avg_pool2d(x [N, C, H, W], (h, w))  -->  avg_pool2d(x, window=(H / h, W / w))

    Needs h and w to divide H and W.
    """

    roots = ("nn.adaptive_avg_pool2d",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the reduction or the pool."""
        size, out = shape_of(value.args[0])[2:], shape_of(value)[2:]
        if value.attrs.layout != "NCHW" or any(whole % parts for whole, parts in zip(size, out, strict=True)):
            return None
        if out == (1, 1):
            return relax.op.mean(value.args[0], [2, 3], True)
        window = tuple(whole // parts for whole, parts in zip(size, out, strict=True))
        return relax.op.nn.avg_pool2d(value.args[0], window, window)
