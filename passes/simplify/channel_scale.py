"""Scales that are the same for all positions of one output channel, and how weights take them up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...tvm_names import dtype_of, shape_of
from ..expressions import operator_name

if TYPE_CHECKING:
    from tvm.relax import Call

Array = NDArray[Any]

CONVOLUTIONS = ("nn.conv1d", "nn.conv2d", "nn.conv3d")
TRANSPOSED_CONVOLUTIONS = ("nn.conv1d_transpose", "nn.conv2d_transpose", "nn.conv3d_transpose")


def along_axis(scale: Array, shape: tuple[int, ...], axis: int) -> Array | None:
    """Return a constant that broadcasts to ``shape`` as one number per index of an axis, else None."""
    if scale.ndim > len(shape):
        return None
    aligned = scale.reshape((1,) * (len(shape) - scale.ndim) + scale.shape)
    if any(dim != 1 for position, dim in enumerate(aligned.shape) if position != axis):
        return None
    return np.broadcast_to(aligned.reshape(-1), (shape[axis],))


def scaled_weight(weight: Array, scale: Array, call: Call) -> Array | None:
    """Return the weights of a convolution whose output channels are scaled; None for layouts other than OI and IO.

    Args:
        weight: [O, I / groups, ...], or [I, O / groups, ...] for a transposed convolution.
        scale: [O].
    """
    spatial = (1,) * (weight.ndim - 2)
    layout = str(call.attrs.kernel_layout)
    wide = weight.astype(np.float64)
    if operator_name(call) in CONVOLUTIONS and layout.startswith("OI"):
        scaled = wide * scale.reshape(-1, 1, *spatial)
    elif operator_name(call) in TRANSPOSED_CONVOLUTIONS and layout.startswith("IO"):
        groups = int(call.attrs.groups)
        grouped = wide.reshape(groups, -1, *weight.shape[1:])
        scaled = (grouped * scale.reshape(groups, 1, -1, *spatial)).reshape(weight.shape)
    else:
        return None
    return scaled.astype(weight.dtype)


def scaled_inputs(weight: Array, scale: Array, call: Call) -> Array | None:
    """Return the weights [O, I / groups, ...] of a convolution whose input channels are scaled by ``scale`` [I]."""
    if not str(call.attrs.kernel_layout).startswith("OI"):
        return None
    groups = int(call.attrs.groups)
    grouped = weight.astype(np.float64).reshape(groups, -1, *weight.shape[1:])
    spatial = (1,) * (weight.ndim - 2)
    return (grouped * scale.reshape(groups, 1, -1, *spatial)).reshape(weight.shape).astype(weight.dtype)


def is_plain_convolution(call: Call) -> bool:
    """Return whether a convolution reads and writes channels first, all in one floating point type."""
    attrs = call.attrs
    channels_first = str(attrs.data_layout).startswith("NC") and str(attrs.out_layout).startswith("NC")
    same = dtype_of(call.args[0]) == dtype_of(call.args[1]) == dtype_of(call)
    return channels_first and len(str(attrs.data_layout)) == len(shape_of(call)) and same and "float" in dtype_of(call)
