"""Rewrites of transposes."""

import numpy as np
import pytest
from relax_modules import array, assert_rewritten, assert_unchanged, constant, scalar
from tvm import relax
from tvm.relax import op

from tilewright.passes.quantization import dequantize, quantize
from tilewright.passes.simplify import simplify
from tilewright.passes.simplify.merge_transposes import MergeTransposes
from tilewright.passes.simplify.sink_transpose import (
    SinkTransposePastConcat,
    SinkTransposePastPointwise,
    SinkTransposePastQuantization,
    SinkTransposePastReduction,
)

TO_LAST, TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
IMAGE = (2, 3, 4, 5)


def test_transposes_are_composed():
    def before(emit, x):
        return emit(op.permute_dims(emit(op.permute_dims(x, [1, 2, 0])), [0, 2, 1]))

    assert_rewritten(MergeTransposes(), before, lambda emit, x: emit(op.permute_dims(x, [1, 0, 2])), (2, 3, 4))


def test_transposes_that_undo_each_other_vanish():
    def before(emit, x):
        return op.exp(emit(op.permute_dims(emit(op.permute_dims(x, TO_LAST)), TO_FIRST)))

    assert_rewritten(simplify, before, lambda emit, x: op.exp(x), IMAGE)


def test_transpose_sinks_past_a_function():
    def before(emit, x):
        return op.clip(emit(op.permute_dims(x, TO_LAST)), 0, 6)

    def expected(emit, x):
        return emit(op.permute_dims(emit(op.clip(x, 0, 6)), TO_LAST))

    assert_rewritten(SinkTransposePastPointwise(), before, expected, IMAGE)


def test_transpose_sinks_past_a_constant():
    def before(emit, x):
        return op.add(emit(op.permute_dims(x, TO_LAST)), constant((4, 1, 3)))

    def expected(emit, x):
        turned = relax.const(array((4, 1, 3))[None].transpose(0, 3, 1, 2).copy())
        return emit(op.permute_dims(emit(op.add(x, turned)), TO_LAST))

    assert_rewritten(SinkTransposePastPointwise(), before, expected, IMAGE)


def test_equal_transposes_sink_past_an_addition():
    def before(emit, x, y):
        return op.add(emit(op.permute_dims(x, TO_LAST)), emit(op.permute_dims(y, TO_LAST)))

    def expected(emit, x, y):
        return emit(op.permute_dims(emit(op.add(x, y)), TO_LAST))

    assert_rewritten(SinkTransposePastPointwise(), before, expected, IMAGE, IMAGE)


def test_transpose_sinks_past_a_gate_that_is_a_vector():
    def before(emit, x, gate):
        return op.multiply(emit(op.permute_dims(x, TO_LAST)), gate)

    def expected(emit, x, gate):
        return emit(op.permute_dims(emit(op.multiply(x, emit(op.reshape(gate, (1, 3, 1, 1))))), TO_LAST))

    assert_rewritten(SinkTransposePastPointwise(), before, expected, IMAGE, (1, 1, 1, 3))


def transposed_two_ways(emit, x, y):
    return op.add(emit(op.permute_dims(x, TO_LAST)), emit(op.permute_dims(y, [0, 2, 3, 1][::-1])))


def transposed_and_read_elsewhere(emit, x, y):
    turned = emit(op.permute_dims(x, TO_LAST))
    return [op.exp(turned), turned]


def beside_a_whole_tensor(emit, x, y):
    return op.add(emit(op.permute_dims(x, [0, 1, 3, 2])), y)


@pytest.mark.parametrize("before", [transposed_two_ways, transposed_and_read_elsewhere, beside_a_whole_tensor])
def test_transposes_that_stay(before):
    assert_unchanged(SinkTransposePastPointwise(), before, (2, 2, 2, 2), (2, 2, 2, 2))


def test_one_transpose_read_twice_by_one_operator_sinks():
    def before(emit, x):
        turned = emit(op.permute_dims(x, [1, 0]))
        return op.multiply(turned, turned)

    def expected(emit, x):
        return emit(op.permute_dims(emit(op.multiply(x, x)), [1, 0]))

    assert_rewritten(SinkTransposePastPointwise(), before, expected, (2, 3))


@pytest.mark.parametrize(
    ("axes", "keepdims", "moved", "left"),
    [
        ([1, 2], False, [2, 3], None),
        ([1, 2], True, [2, 3], TO_LAST),
        ([3], False, [1], None),
        ([0], False, [0], [1, 2, 0]),
    ],
)
def test_transpose_sinks_past_a_reduction(axes, keepdims, moved, left):
    def before(emit, x):
        return emit(op.sum(emit(op.permute_dims(x, TO_LAST)), axes, keepdims))

    def expected(emit, x):
        reduced = emit(op.sum(x, moved, keepdims))
        return reduced if left is None else emit(op.permute_dims(reduced, left))

    assert_rewritten(SinkTransposePastReduction(), before, expected, IMAGE)


def _grid(scales: int = 0):
    shape = (scales,) if scales else ()
    return relax.const(np.full(shape, 0.5, np.float32)), relax.const(np.full(shape, 3, np.int8))


@pytest.mark.parametrize("scales", [0, 1])
def test_transpose_sinks_past_quantization(scales):
    def before(emit, x):
        bytes_ = emit(quantize(emit(op.permute_dims(x, TO_LAST)), *_grid(scales), "int8"))
        return dequantize(emit(op.permute_dims(bytes_, TO_FIRST)), *_grid(scales), "float32")

    def expected(emit, x):
        return dequantize(emit(quantize(x, *_grid(scales), "int8")), *_grid(scales), "float32")

    assert_rewritten(simplify, before, expected, IMAGE)


def test_transpose_stays_before_scales_of_channels():
    def before(emit, x):
        return quantize(emit(op.permute_dims(x, TO_LAST)), *_grid(3), "int8", axis=3)

    assert_unchanged(SinkTransposePastQuantization(), before, IMAGE)


def test_transposes_sink_past_concatenation():
    def before(emit, x, y):
        turned = [emit(op.permute_dims(each, TO_LAST)) for each in (x, y)]
        return emit(op.concat(turned, axis=3))

    def expected(emit, x, y):
        return emit(op.permute_dims(emit(op.concat([x, y], axis=1)), TO_LAST))

    assert_rewritten(SinkTransposePastConcat(), before, expected, IMAGE, IMAGE)
    assert_unchanged(
        SinkTransposePastConcat(),
        lambda emit, x, y: emit(op.concat([emit(op.permute_dims(x, [1, 0])), y])),
        (2, 2),
        (2, 2),
    )


def test_a_channels_last_block_loses_all_its_transposes():
    """A residual block as a channels-last framework exports it, around convolutions that want channels first."""

    def convolution(emit, x):
        first = emit(op.permute_dims(x, TO_FIRST))
        return emit(op.permute_dims(emit(op.nn.conv2d(first, constant((3, 3, 3, 3)), padding=1)), TO_LAST))

    def before(emit, x):
        start = emit(op.permute_dims(x, TO_LAST))
        inner = emit(op.nn.relu(emit(op.add(convolution(emit, start), constant((3,))))))
        total = emit(op.nn.relu(emit(op.add(convolution(emit, inner), start))))
        return emit(op.mean(total, [1, 2]))

    def expected(emit, x):
        inner = emit(op.nn.conv2d(x, constant((3, 3, 3, 3)), padding=1))
        inner = emit(op.nn.relu(emit(op.add(inner, relax.const(array((3,)).reshape(1, 3, 1, 1))))))
        total = emit(op.add(emit(op.nn.conv2d(inner, constant((3, 3, 3, 3)), padding=1)), x))
        return emit(op.mean(emit(op.nn.relu(total)), [2, 3]))

    assert_rewritten(simplify, before, expected, IMAGE, rtol=1e-5)


def test_transposed_operand_of_a_matrix_product_is_left_to_fusion():
    def before(emit, x, y):
        return op.multiply(emit(op.matmul(x, emit(op.permute_dims(y, [0, 2, 1])))), scalar(0.5))

    assert_unchanged(simplify, before, (2, 3, 4), (2, 5, 4))
