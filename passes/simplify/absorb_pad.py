"""Explicit padding in front of operators that can pad by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from ...tvm_names import dtype_of, shape_of
from ..expressions import ints, operator_name
from ..rewrite import RewritePass, register_pass
from ..scope import Scope
from .channel_scale import CONVOLUTIONS

if TYPE_CHECKING:
    from tvm.relax import Call, Expr

#: Operators whose results are never below zero.
_NOT_NEGATIVE = ("nn.relu", "sigmoid", "abs", "exp")


@register_pass("absorb-pad-into-conv")
@dataclass(frozen=True)
class AbsorbPadIntoConv(RewritePass):
    """Let the convolution pad.

    conv2d(nn.pad(x, p), w, padding=q)  -->  conv2d(x, w, padding=p + q)

    Needs zeros as padding, on the spatial axes alone, channels first.
    """

    roots = CONVOLUTIONS

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the convolution of the unpadded data."""
        pad = scope.call(value.args[0], "nn.pad")
        width = None if pad is None else spatial_padding(pad)
        if pad is None or width is None or float(pad.attrs.pad_value) != 0:
            return None
        attrs = value.attrs
        if not str(attrs.data_layout).startswith("NC"):
            return None
        padding = tuple(own + more for own, more in zip(ints(attrs.padding), width, strict=True))
        convolution = getattr(relax.op.nn, operator_name(value).removeprefix("nn."))
        return convolution(
            pad.args[0], value.args[1], strides=ints(attrs.strides), padding=padding, dilation=ints(attrs.dilation),
            groups=int(attrs.groups), data_layout=attrs.data_layout, kernel_layout=attrs.kernel_layout,
            out_layout=attrs.out_layout, out_dtype=attrs.out_dtype,
        )  # fmt: skip


@register_pass("absorb-pad-into-pool")
@dataclass(frozen=True)
class AbsorbPadIntoPool(RewritePass):
    """Let the pool pad.

    avg_pool2d(nn.pad(x, p), padding=0)  -->  avg_pool2d(x, padding=p, count_include_pad=True)
    max_pool2d(nn.pad(x, p, -inf), padding=q)  -->  max_pool2d(x, padding=p + q)

    An average needs zeros as padding. A maximum needs the lowest number, or zeros in front of data that is nowhere
    below zero. The padding stays narrower than the window, so that no window lies in it entirely.
    """

    roots = ("nn.avg_pool2d", "nn.max_pool2d")

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the pool of the unpadded data."""
        attrs = value.attrs
        pad = scope.call(value.args[0], "nn.pad")
        width = None if pad is None else spatial_padding(pad)
        plain = attrs.layout == "NCHW" and not attrs.ceil_mode and set(ints(attrs.dilation)) == {1}
        if pad is None or width is None or not plain:
            return None
        own = ints(attrs.padding)
        padding = tuple(first + second for first, second in zip(own, width, strict=True))
        window = ints(attrs.pool_size)
        if any(amount >= size for amount, size in zip(padding, (*window, *window), strict=True)):
            return None
        if operator_name(value) == "nn.max_pool2d":
            if not _below_all(pad, scope):
                return None
            return relax.op.nn.max_pool2d(pad.args[0], window, ints(attrs.strides), padding)
        if float(pad.attrs.pad_value) != 0 or (any(own) and not attrs.count_include_pad):
            return None
        return relax.op.nn.avg_pool2d(pad.args[0], window, ints(attrs.strides), padding, count_include_pad=True)


def spatial_padding(pad: Call) -> tuple[int, ...] | None:
    """Return the padding of the axes after the second, all begins before all ends; None for any other padding."""
    width = ints(pad.attrs.pad_width)
    if pad.attrs.pad_mode != "constant" or any(width[:4]) or min(width, default=0) < 0 or len(width) <= 4:
        return None
    return (*width[4::2], *width[5::2])


def _below_all(pad: Call, scope: Scope) -> bool:
    """Return whether no element of the padded data is below the padding."""
    value = float(pad.attrs.pad_value)
    if value == 0:
        return scope.call(pad.args[0], *_NOT_NEGATIVE) is not None
    lowest = np.finfo(dtype_of(pad)).min if "float" in dtype_of(pad) else np.iinfo(dtype_of(pad)).min
    return len(shape_of(pad)) == 4 and value <= float(lowest)
