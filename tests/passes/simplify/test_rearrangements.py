"""Splits as slices, and shuffles of channels as one permutation."""

import numpy as np
import pytest
from relax_modules import assert_rewritten, assert_unchanged
from tvm import relax
from tvm.relax import op

from tilewright.passes.simplify.recognize_channel_shuffle import RecognizeChannelShuffle
from tilewright.passes.simplify.split_to_slices import SplitToSlices


def test_parts_of_a_split_are_slices():
    def before(emit, x):
        parts = emit(op.split(x, [1, 4], axis=-1))
        return [emit(op.nn.relu(emit(relax.TupleGetItem(parts, index)))) for index in (0, 2)]

    def after(emit, x):
        bounds = ((0, 1), (4, 6))
        return [emit(op.nn.relu(emit(op.strided_slice(x, [1], [begin], [end])))) for begin, end in bounds]

    assert_rewritten(SplitToSlices(), before, after, (3, 6))


def _shuffle(emit, x, groups, axes=(0, 2, 1, 3, 4)):
    batch, channels, height, width = (int(each) for each in x.ty.shape.values)
    y = emit(op.reshape(x, (batch, groups, channels // groups, height, width)))
    return emit(op.reshape(emit(op.permute_dims(y, axes)), (batch, channels, height, width)))


@pytest.mark.parametrize("groups", [2, 3])
def test_a_shuffle_is_a_permutation_of_channels(groups):
    order = np.arange(12).reshape(groups, -1).T.reshape(-1)

    def after(emit, x):
        return emit(op.take(x, relax.const(order, "int64"), 1, mode="fast"))

    assert_rewritten(RecognizeChannelShuffle(), lambda emit, x: _shuffle(emit, x, groups), after, (2, 12, 3, 5))


def test_other_transposes_stay():
    assert_unchanged(RecognizeChannelShuffle(), lambda emit, x: _shuffle(emit, x, 2, (0, 1, 2, 4, 3)), (1, 4, 3, 3))
    assert_unchanged(RecognizeChannelShuffle(), lambda emit, x: _shuffle(emit, x, 2), (1, 4, 1, 1))
