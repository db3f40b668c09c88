"""Reshapes on their way down."""

import pytest
from relax_modules import array, assert_rewritten, assert_unchanged, constant, scalar
from tvm import relax
from tvm.relax import op

from tilewright.passes.simplify import simplify
from tilewright.passes.simplify.sink_reshape import SinkReshapePastPointwise, SinkReshapePastTranspose


def test_reshape_sinks_past_a_function():
    def before(emit, x):
        return op.nn.gelu(emit(op.reshape(x, (4, 6))))

    def expected(emit, x):
        return emit(op.reshape(emit(op.nn.gelu(x)), (4, 6)))

    assert_rewritten(SinkReshapePastPointwise(), before, expected, (2, 2, 6))


@pytest.mark.parametrize(
    ("source", "target", "shape", "beside"),
    [
        ((4, 6), (2, 2, 6), (6,), (6,)),
        ((2, 12), (2, 3, 4), (1, 1, 1), ()),
        ((2, 5), (2, 5, 1, 1), (5, 1, 1), (1, 5)),
        ((1, 3, 1, 4), (3, 4), (3, 1), (1, 3, 1, 1)),
        ((2, 3, 4), (6, 4), (1, 4), (4,)),
    ],
    ids=str,
)
def test_reshape_sinks_past_a_constant(source, target, shape, beside):
    def before(emit, x):
        return op.add(emit(op.reshape(x, target)), constant(shape))

    def expected(emit, x):
        return emit(op.reshape(emit(op.add(x, relax.const(array(shape).reshape(beside)))), target))

    assert_rewritten(SinkReshapePastPointwise(), before, expected, source)


def test_equal_reshapes_sink_past_an_addition():
    def before(emit, x, y):
        return op.add(emit(op.reshape(x, (6, 2))), emit(op.reshape(y, (6, 2))))

    def expected(emit, x, y):
        return emit(op.reshape(emit(op.add(x, y)), (6, 2)))

    assert_rewritten(SinkReshapePastPointwise(), before, expected, (3, 4), (3, 4))


def read_elsewhere(emit, x, y):
    thin = emit(op.reshape(x, (2, 6)))
    return [op.exp(thin), thin]


@pytest.mark.parametrize(
    "before",
    [
        lambda emit, x, y: op.add(emit(op.reshape(x, (2, 6))), constant((2, 1))),
        lambda emit, x, y: op.add(emit(op.reshape(x, (12,))), emit(op.reshape(y, (12,)))),
        lambda emit, x, y: op.add(emit(op.reshape(x, (2, 6))), y),
        lambda emit, x, y: op.add(emit(op.reshape(x, (1, 12))), constant((3, 1))),
        read_elsewhere,
    ],
    ids=["varies along a split axis", "other source", "beside a tensor", "broadcast", "read elsewhere"],
)
def test_reshapes_that_stay(before):
    assert_unchanged(SinkReshapePastPointwise(), before, (3, 4), (2, 6))


@pytest.mark.parametrize(
    ("source", "target", "axes", "order"),
    [
        ((1, 12, 8, 4), (12, 8, 4), [0, 2, 1], [0, 1, 3, 2]),
        ((3, 4), (1, 3, 1, 4), [3, 0, 2, 1], [1, 0]),
        ((2, 1, 3), (2, 3, 1), [1, 2, 0], [2, 1, 0]),
    ],
    ids=str,
)
def test_reshape_of_unit_axes_sinks_past_a_transpose(source, target, axes, order):
    def before(emit, x):
        return emit(op.permute_dims(emit(op.reshape(x, target)), axes))

    shape = [target[axis] for axis in axes]

    def expected(emit, x):
        return emit(op.reshape(emit(op.permute_dims(x, order)), shape))

    assert_rewritten(SinkReshapePastTranspose(), before, expected, source)


def test_reshape_that_regroups_stays_before_a_transpose():
    def before(emit, x):
        return emit(op.permute_dims(emit(op.reshape(x, (2, 3, 4))), [0, 2, 1]))

    assert_unchanged(SinkReshapePastTranspose(), before, (6, 4))


def test_the_scale_of_attention_reaches_the_weights():
    """Heads are split before the scale, as exporters write it, with a transpose through three axes."""

    def heads(emit, x, seed):
        dense = emit(op.add(emit(op.matmul(x, constant((8, 8), seed))), constant((8,), seed + 1)))
        return emit(op.permute_dims(emit(op.reshape(dense, (1, 5, 2, 4))), [0, 2, 1, 3]))

    def before(emit, x):
        query = emit(op.divide(heads(emit, x, 1), scalar(2)))
        key = emit(op.reshape(heads(emit, x, 3), (2, 5, 4)))
        key = emit(op.reshape(emit(op.permute_dims(key, [0, 2, 1])), (1, 2, 4, 5)))
        return emit(op.nn.softmax(emit(op.matmul(query, key)), 3))

    def half(shape, seed):
        return relax.const(array(shape, seed) / 2)

    def expected(emit, x):
        query = emit(op.add(emit(op.matmul(x, half((8, 8), 1))), half((8,), 2)))
        query = emit(op.permute_dims(emit(op.reshape(query, (1, 5, 2, 4))), [0, 2, 1, 3]))
        key = emit(op.add(emit(op.matmul(x, constant((8, 8), 3))), constant((8,), 4)))
        key = emit(op.permute_dims(emit(op.reshape(key, (1, 5, 2, 4))), [0, 2, 3, 1]))
        return emit(op.nn.softmax(emit(op.matmul(query, key)), 3))

    assert_rewritten(simplify, before, expected, (1, 5, 8), rtol=1e-5)
