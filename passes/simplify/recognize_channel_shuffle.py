"""Channel shuffles as one permutation of channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from ...tvm_names import shape_of
from ..expressions import constant, permutation_of
from ..rewrite import RewritePass, register_pass
from ..scope import Scope

if TYPE_CHECKING:
    from tvm.relax import Expr


@register_pass("recognize-channel-shuffle")
@dataclass(frozen=True)
class RecognizeChannelShuffle(RewritePass):
    """Images whose channels are regrouped keep their layout (Zhang et al., "ShuffleNet", CVPR 2018).

    reshape(permute_dims(reshape(x [N, G*K, H, W], [N, G, K, H, W]), [0, 2, 1, 3, 4]), [N, K*G, H, W])
      -->  take(x, [0, K, 2K, .., 1, K + 1, ..], axis=1)
    """

    roots = ("reshape",)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the take for the reshape that ends a shuffle of more pixels than one."""
        transpose = scope.call(value.args[0], "permute_dims")
        split = scope.call(transpose.args[0], "reshape") if transpose is not None else None
        if split is None or permutation_of(transpose) != (0, 2, 1, 3, 4):
            return None
        data = split.args[0]
        batch, groups, each, height, width = shape_of(split)
        whole = (batch, groups * each, height, width)
        if shape_of(data) != whole or shape_of(value) != whole or height * width == 1:
            return None
        order = np.arange(groups * each).reshape(groups, each).T.reshape(-1)
        return relax.op.take(data, constant(order), 1, mode="fast")
