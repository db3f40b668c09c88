"""The simplify phase: the same operators, fewer. One rewrite a file; this is the table of contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..rewrite import RewritePass, rewrite_to_fixed_point
from .absorb_pad import AbsorbPadIntoConv, AbsorbPadIntoPool
from .constant_to_the_right import ConstantToTheRight
from .divide_to_multiply import DivideToMultiply
from .drop_broadcast import DropBroadcast
from .fold_constants import FoldConstants
from .fold_scale_into_conv import FoldInputScaleIntoConv, FoldScaleIntoConv
from .fold_scale_into_matmul import FoldScaleIntoMatmul
from .fold_scale_into_norm import FoldScaleIntoNorm
from .global_pool_to_reduction import AdaptivePoolToPool, GlobalPoolToReduction
from .lower_batch_norm import LowerBatchNorm
from .merge_common_subexpressions import MergeCommonSubexpressions
from .merge_constant_operands import MergeConstantOperands
from .merge_reshapes import MergeReshapes
from .merge_transposes import MergeTransposes
from .move_scale_before_bias import MoveScaleBeforeBias
from .power_to_multiply import PowerToMultiply
from .recognize_channel_shuffle import RecognizeChannelShuffle
from .recognize_gelu import RecognizeGelu
from .recognize_norm import RecognizeLayerNorm, RecognizeRmsNorm
from .recognize_silu import RecognizeSilu
from .recognize_softmax import RecognizeSoftmax
from .remove_identity import RemoveDropout, RemoveIdentity, RemoveTupleAccess
from .sink_reshape import SinkReshapePastPointwise, SinkReshapePastTranspose
from .sink_transpose import (
    SinkTransposePastConcat,
    SinkTransposePastPointwise,
    SinkTransposePastQuantization,
    SinkTransposePastReduction,
)
from .spec import check
from .split_to_slices import SplitToSlices
from .squeeze_to_reshape import SqueezeToReshape, TransposeOfUnitAxesToReshape
from .subtract_to_add import SubtractToAdd

if TYPE_CHECKING:
    from tvm.ir import IRModule

__all__ = ["REWRITES", "check", "simplify"]

#: What runs at every binding, in this order: what makes a binding vanish, then one form for many, then the algebra of
#: constants, then composites, then reshapes and transposes on their way down.
REWRITES: tuple[RewritePass, ...] = (
    RemoveTupleAccess(),
    RemoveDropout(),
    FoldConstants(),
    RemoveIdentity(),
    MergeCommonSubexpressions(),
    SplitToSlices(),
    SqueezeToReshape(),
    MergeReshapes(),
    MergeTransposes(),
    TransposeOfUnitAxesToReshape(),
    ConstantToTheRight(),
    SubtractToAdd(),
    DivideToMultiply(),
    PowerToMultiply(),
    DropBroadcast(),
    LowerBatchNorm(),
    AbsorbPadIntoConv(),
    AbsorbPadIntoPool(),
    AdaptivePoolToPool(),
    GlobalPoolToReduction(),
    RecognizeChannelShuffle(),
    RecognizeGelu(),
    RecognizeSilu(),
    RecognizeLayerNorm(),
    RecognizeRmsNorm(),
    RecognizeSoftmax(),
    MergeConstantOperands(),
    MoveScaleBeforeBias(),
    FoldScaleIntoConv(),
    FoldInputScaleIntoConv(),
    FoldScaleIntoMatmul(),
    FoldScaleIntoNorm(),
    SinkReshapePastPointwise(),
    SinkReshapePastTranspose(),
    SinkTransposePastPointwise(),
    SinkTransposePastQuantization(),
    SinkTransposePastReduction(),
    SinkTransposePastConcat(),
)


def simplify(module: IRModule) -> IRModule:
    """Return a module that computes the same with fewer operators; :func:`check` says what holds of it."""
    return rewrite_to_fixed_point(module, REWRITES)[0]
