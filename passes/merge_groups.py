"""Grouped convolutions whose groups are no whole vectors of channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from ..tvm_names import constant_value, dtype_of, is_constant, shape_of
from .expressions import constant, operator_name
from .rewrite import RewritePass, register_pass

if TYPE_CHECKING:
    from tvm.relax import Expr

    from .scope import Scope


@register_pass("merge-groups")
@dataclass(frozen=True)
class MergeGroups(RewritePass):
    """Merge neighbouring groups, weights of zero between them, until inputs and outputs of each are whole vectors.

    conv2d(x, w, groups=32)  -->  conv2d(x, block_diagonal(w), groups=8)        4 channels a group, 16 lanes

    Kernels in channel blocks take whole vectors only, and a vector multiplied by some zeros is still much faster than
    scalars. Where no number of groups merged gives whole vectors, one group is left. Products with the zeros are of
    finite numbers zero: an infinity or NaN in a channel also reaches the outputs of the groups merged with its own.

    Attributes:
        lanes: elements of a vector.
    """

    lanes: int
    roots = ("nn.conv2d", "nn.conv2d_transpose")

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the convolution of fewer groups."""
        data, weight = value.args
        groups, first = int(value.attrs.groups), shape_of(weight)[0]
        inputs, outputs = shape_of(data)[1] // groups, shape_of(value)[1] // groups
        depthwise = inputs == outputs == 1
        if groups == 1 or depthwise or not is_constant(weight) or dtype_of(value) != "float32":
            return None
        merged = next((each for each in _divisors(groups) if self._whole(each * inputs, each * outputs)), groups)
        if merged == 1:
            return None
        wide = _block_diagonal(constant_value(weight), first // groups, merged)
        return _with_groups(value, [data, constant(wide)], groups // merged)

    def _whole(self, *channels: int) -> bool:
        return not any(each % self.lanes for each in channels)


def _divisors(number: int) -> list[int]:
    return [each for each in range(1, number + 1) if number % each == 0]


def _block_diagonal(weight: NDArray[Any], rows: int, merged: int) -> NDArray[Any]:
    """Return [A, merged * B, ...] from [A, B, ...], where every ``rows`` of A belong to one group."""
    first, second, *window = weight.shape
    wide = np.zeros((first, merged, second, *window), weight.dtype)
    for row in range(first):
        wide[row, row // rows % merged] = weight[row]
    return wide.reshape(first, merged * second, *window)


def _with_groups(call: Expr, operands: list[Expr], groups: int) -> Expr:
    attrs = call.attrs
    extra = [attrs.output_padding] if operator_name(call) == "nn.conv2d_transpose" else []
    make = relax.op.nn.conv2d_transpose if extra else relax.op.nn.conv2d
    steps = (attrs.strides, attrs.padding, *extra, attrs.dilation)
    layouts = (attrs.data_layout, attrs.kernel_layout, attrs.out_layout)
    return make(*operands, *steps, groups, *layouts, attrs.out_dtype)
