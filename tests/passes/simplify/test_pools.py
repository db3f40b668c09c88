"""Rewrites of padding and pools."""

import pytest
from relax_modules import assert_rewritten, assert_unchanged, constant
from tvm.relax import op

from tilewright.passes.simplify.absorb_pad import AbsorbPadIntoConv, AbsorbPadIntoPool
from tilewright.passes.simplify.global_pool_to_reduction import AdaptivePoolToPool, GlobalPoolToReduction

IMAGE = (1, 4, 6, 6)


def padded(x, *width, value=0.0, mode="constant"):
    return op.nn.pad(x, width, mode, value)


def test_padding_is_absorbed_by_convolution():
    def before(emit, x):
        pad = emit(padded(x, 0, 0, 0, 0, 1, 2, 0, 1))
        return emit(op.nn.conv2d(pad, constant((5, 4, 3, 3)), strides=(2, 1), padding=(1, 0, 0, 1)))

    def expected(emit, x):
        return emit(op.nn.conv2d(x, constant((5, 4, 3, 3)), strides=(2, 1), padding=(2, 0, 2, 2)))

    assert_rewritten(AbsorbPadIntoConv(), before, expected, IMAGE, rtol=1e-5)


@pytest.mark.parametrize(
    "pad",
    [
        lambda x: padded(x, 0, 0, 1, 0, 1, 1, 1, 1),
        lambda x: padded(x, 0, 0, 0, 0, 1, 1, 1, 1, value=1.0),
        lambda x: padded(x, 0, 0, 0, 0, 1, 1, 1, 1, mode="reflect"),
    ],
    ids=["channels", "ones", "reflected"],
)
def test_padding_that_convolution_cannot_do_stays(pad):
    def before(emit, x):
        data = emit(pad(x))
        return emit(op.nn.conv2d(data, constant((5, int(data.ty.shape.values[1]), 3, 3))))

    assert_unchanged(AbsorbPadIntoConv(), before, IMAGE)


def test_padding_is_absorbed_by_average_pool():
    def before(emit, x):
        return emit(op.nn.avg_pool2d(emit(padded(x, 0, 0, 0, 0, 1, 0, 1, 1)), (2, 3), (2, 2)))

    def expected(emit, x):
        return emit(op.nn.avg_pool2d(x, (2, 3), (2, 2), (1, 1, 0, 1), count_include_pad=True))

    assert_rewritten(AbsorbPadIntoPool(), before, expected, IMAGE)


def test_padding_is_absorbed_by_maximum_pool():
    def before(emit, x, value=0.0):
        data = emit(padded(emit(op.nn.relu(x)), 0, 0, 0, 0, 1, 1, 1, 1, value=value))
        return emit(op.nn.max_pool2d(data, (3, 3), (2, 2)))

    def expected(emit, x):
        return emit(op.nn.max_pool2d(emit(op.nn.relu(x)), (3, 3), (2, 2), (1, 1, 1, 1)))

    assert_rewritten(AbsorbPadIntoPool(), before, expected, IMAGE)
    assert_rewritten(AbsorbPadIntoPool(), lambda e, x: before(e, x, float("-inf")), expected, IMAGE)


@pytest.mark.parametrize(
    "pool",
    [
        lambda pad: op.nn.max_pool2d(pad, (3, 3)),
        lambda pad: op.nn.avg_pool2d(pad, (1, 1)),
        lambda pad: op.nn.avg_pool2d(pad, (3, 3), padding=1),
        lambda pad: op.nn.avg_pool2d(pad, (3, 3), (2, 2), ceil_mode=True),
    ],
    ids=["zeros below the maximum", "window inside the padding", "own padding not counted", "rounded up"],
)
def test_padding_that_a_pool_cannot_do_stays(pool):
    assert_unchanged(AbsorbPadIntoPool(), lambda emit, x: emit(pool(emit(padded(x, 0, 0, 0, 0, 1, 1, 1, 1)))), IMAGE)


@pytest.mark.parametrize(("pool", "reduce"), [(op.nn.avg_pool2d, op.mean), (op.nn.max_pool2d, op.max)])
def test_global_pool_is_a_reduction(pool, reduce):
    def before(emit, x):
        return emit(pool(x, (6, 5)))

    assert_rewritten(GlobalPoolToReduction(), before, lambda emit, x: emit(reduce(x, [2, 3], True)), (2, 3, 6, 5))
    assert_unchanged(GlobalPoolToReduction(), before, (2, 3, 7, 5))
    assert_unchanged(GlobalPoolToReduction(), lambda emit, x: emit(pool(x, (6, 5), padding=1)), (2, 3, 6, 5))


def test_adaptive_pool():
    rewrite = AdaptivePoolToPool()
    shape = (2, 3, 6, 4)
    mean = lambda emit, x: emit(op.mean(x, [2, 3], True))  # noqa: E731
    assert_rewritten(rewrite, lambda emit, x: emit(op.nn.adaptive_avg_pool2d(x, (1, 1))), mean, shape)
    assert_rewritten(
        rewrite,
        lambda emit, x: emit(op.nn.adaptive_avg_pool2d(x, (3, 2))),
        lambda emit, x: emit(op.nn.avg_pool2d(x, (2, 2), (2, 2))),
        shape,
    )
    assert_unchanged(rewrite, lambda emit, x: emit(op.nn.adaptive_avg_pool2d(x, (4, 2))), shape)
