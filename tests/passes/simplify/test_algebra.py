"""Rewrites of arithmetic with constants: batch norm, scales, biases, powers."""

import numpy as np
import pytest
import torch
from relax_modules import (
    array,
    assert_computes_the_same,
    assert_rewritten,
    assert_unchanged,
    build_module,
    constant,
    random_inputs,
    scalar,
)
from relax_runner import run_module
from tvm import relax
from tvm.relax import op

from tilewright.passes.simplify import simplify
from tilewright.passes.simplify.constant_to_the_right import ConstantToTheRight
from tilewright.passes.simplify.divide_to_multiply import DivideToMultiply
from tilewright.passes.simplify.fold_scale_into_conv import FoldInputScaleIntoConv, FoldScaleIntoConv
from tilewright.passes.simplify.fold_scale_into_matmul import FoldScaleIntoMatmul
from tilewright.passes.simplify.lower_batch_norm import LowerBatchNorm
from tilewright.passes.simplify.merge_constant_operands import MergeConstantOperands
from tilewright.passes.simplify.move_scale_before_bias import MoveScaleBeforeBias
from tilewright.passes.simplify.power_to_multiply import PowerToMultiply
from tilewright.passes.simplify.subtract_to_add import SubtractToAdd

IMAGE = (1, 4, 6, 6)


def f32(values):
    return relax.const(np.asarray(values, "float32"))


def batch_norm(emit, x, channels, training=False, **options):
    parameters = [constant((channels,), seed) for seed in range(4)]
    return emit(
        relax.TupleGetItem(emit(op.nn.batch_norm(x, *parameters, axis=1, training=training, **options), "norm"), 0)
    )


def batch_norm_scale_and_bias(channels, epsilon=1e-5):
    gamma, beta, mean, variance = (array((channels,), seed).astype("float64") for seed in range(4))
    scale = gamma / np.sqrt(variance + epsilon)
    return scale.astype("float32"), (beta - mean * scale).astype("float32")


@pytest.mark.parametrize("shape", [(2, 3), (1, 3, 5), (1, 3, 4, 4)], ids=str)
def test_batch_norm_is_a_scale_and_a_bias(shape):
    scale, bias = (each.reshape(-1, *(1,) * (len(shape) - 2))[None] for each in batch_norm_scale_and_bias(3))

    def expected(emit, x):
        return op.add(emit(op.multiply(x, f32(scale))), f32(bias))

    assert_rewritten(LowerBatchNorm(), lambda emit, x: batch_norm(emit, x, 3), expected, shape, rtol=1e-5)


def test_batch_norm_agrees_with_torch():
    module = simplify(build_module(lambda emit, x: batch_norm(emit, x, 3, epsilon=1e-3), (2, 3, 4, 4)))
    (x,) = random_inputs([(2, 3, 4, 4)])
    gamma, beta, mean, variance = (torch.from_numpy(array((3,), seed)) for seed in range(4))
    wanted = torch.nn.functional.batch_norm(torch.from_numpy(x), mean, variance, gamma, beta, eps=1e-3)
    np.testing.assert_allclose(run_module(module, [x])[0], wanted.numpy(), rtol=1e-5, atol=1e-6)


def test_batch_norm_of_a_batch_s_own_statistics_stays():
    assert_unchanged(LowerBatchNorm(), lambda emit, x: batch_norm(emit, x, 3, training=True), (1, 3, 4, 4))


def test_batch_norm_with_computed_statistics_stays():
    def before(emit, x, mean):
        ones = constant((3,))
        return emit(relax.TupleGetItem(emit(op.nn.batch_norm(x, ones, ones, mean, ones, axis=1, training=False)), 0))

    assert_unchanged(LowerBatchNorm(), before, (1, 3, 4, 4), (3,))


def test_batch_norm_disappears_in_the_convolution():
    def before(emit, x):
        conv = emit(op.nn.conv2d(x, constant((5, 4, 3, 3)), padding=1), "conv")
        return op.nn.relu(batch_norm(emit, emit(op.add(conv, constant((1, 5, 1, 1), 9))), 5))

    scale, bias = batch_norm_scale_and_bias(5)
    own_bias = (array((1, 5, 1, 1), 9).astype("float64") * scale.reshape(1, 5, 1, 1)).astype("float32")
    weight = (array((5, 4, 3, 3)).astype("float64") * scale.reshape(5, 1, 1, 1)).astype("float32")

    def expected(emit, x):
        conv = emit(op.nn.conv2d(x, f32(weight), padding=1))
        return op.nn.relu(emit(op.add(conv, f32(own_bias.astype("float64") + bias.reshape(1, 5, 1, 1)))))

    assert_rewritten(simplify, before, expected, IMAGE, rtol=1e-5)
    names = [str(each.var.name) for each in simplify(build_module(before, IMAGE))["main"].body.blocks[0].bindings]
    assert names[0] == "conv"


CONVOLUTIONS = {
    "conv1d": (lambda x, w: op.nn.conv1d(x, w, padding=1), (2, 4, 7), (6, 4, 3), (1, 6, 1), (6, 1, 1)),
    "conv2d": (lambda x, w: op.nn.conv2d(x, w), IMAGE, (6, 4, 3, 3), (6, 1, 1), (6, 1, 1, 1)),
    "grouped": (lambda x, w: op.nn.conv2d(x, w, groups=2), IMAGE, (6, 2, 3, 3), (6, 1, 1), (6, 1, 1, 1)),
    "depthwise": (lambda x, w: op.nn.conv2d(x, w, groups=4), IMAGE, (4, 1, 3, 3), (4, 1, 1), (4, 1, 1, 1)),
    "one for all": (lambda x, w: op.nn.conv2d(x, w), IMAGE, (6, 4, 3, 3), (), (1, 1, 1, 1)),
    "transposed": (lambda x, w: op.nn.conv2d_transpose(x, w), IMAGE, (4, 6, 3, 3), (6, 1, 1), (1, 6, 1, 1)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_scale_is_folded_into_convolution(name):
    conv, shape, weight_shape, scale_shape, along_weight = CONVOLUTIONS[name]
    weight, scale = array(weight_shape), array(scale_shape, 2)

    def before(emit, x):
        return op.multiply(emit(conv(x, f32(weight))), f32(scale))

    scaled = (weight.astype("float64") * scale.reshape(along_weight)).astype("float32")
    assert_rewritten(FoldScaleIntoConv(), before, lambda emit, x: emit(conv(x, f32(scaled))), shape, rtol=1e-5)


def test_scale_is_folded_into_grouped_transposed_convolution():
    def before(emit, x):
        conv = emit(op.nn.conv2d_transpose(x, constant((4, 3, 3, 3)), groups=2, strides=(2, 2)))
        return op.multiply(conv, constant((6, 1, 1), 2))

    module = build_module(before, IMAGE)
    folded = FoldScaleIntoConv()(module)
    assert "multiply" not in folded.script()
    assert_computes_the_same(module, folded, [IMAGE], rtol=1e-5)


def conv_used_twice(emit, x):
    conv = emit(op.nn.conv2d(x, constant((4, 4, 3, 3))))
    return op.add(emit(op.multiply(conv, constant((4, 1, 1)))), conv)


def scale_along_rows(emit, x):
    return op.multiply(emit(op.nn.conv2d(x, constant((4, 4, 3, 3)))), constant((4, 1)))


def scale_that_broadcasts(emit, x):
    return op.multiply(emit(op.nn.conv2d(x, constant((1, 4, 3, 3)))), constant((3, 1, 1)))


def convolution_channels_last(emit, x):
    conv = emit(op.nn.conv2d(x, constant((4, 6, 3, 3)), padding=1, data_layout="NHWC", kernel_layout="OIHW"))
    return op.multiply(conv, constant((4, 1, 1)))


@pytest.mark.parametrize(
    "before", [conv_used_twice, scale_along_rows, scale_that_broadcasts, convolution_channels_last]
)
def test_scale_that_weights_cannot_take_stays(before):
    assert_unchanged(FoldScaleIntoConv(), before, IMAGE)


def test_scale_of_variable_weights_stays():
    def before(emit, x, w):
        return op.multiply(emit(op.nn.conv2d(x, w)), constant((4, 1, 1)))

    assert_unchanged(FoldScaleIntoConv(), before, IMAGE, (4, 4, 3, 3))


@pytest.mark.parametrize(("groups", "weight_shape"), [(1, (6, 4, 3, 3)), (2, (6, 2, 3, 3))])
def test_scale_of_the_input_is_folded_into_convolution(groups, weight_shape):
    weight, scale = array(weight_shape), array((4, 1, 1), 2)

    def before(emit, x):
        return emit(op.nn.conv2d(emit(op.multiply(x, f32(scale))), f32(weight), padding=1, groups=groups))

    per_input = scale.reshape(groups, 1, 4 // groups, 1, 1)
    scaled = weight.astype("float64").reshape(groups, 6 // groups, *weight_shape[1:]) * per_input

    def expected(emit, x):
        return emit(op.nn.conv2d(x, f32(scaled.reshape(weight_shape)), padding=1, groups=groups))

    assert_rewritten(FoldInputScaleIntoConv(), before, expected, IMAGE, rtol=1e-5)


def test_scale_of_the_input_that_others_read_stays():
    def before(emit, x):
        product = emit(op.multiply(x, scalar(3)))
        return [emit(op.nn.conv2d(product, constant((6, 4, 3, 3)))), product]

    assert_unchanged(FoldInputScaleIntoConv(), before, IMAGE)


@pytest.mark.parametrize("scale_shape", [(), (5,), (1, 1, 5)])
def test_scale_is_folded_into_matmul(scale_shape):
    weight, scale = array((3, 5)), array(scale_shape, 2)

    def before(emit, x):
        return op.multiply(emit(op.matmul(x, f32(weight))), f32(scale))

    scaled = weight.astype("float64") * scale.reshape(-1)
    assert_rewritten(
        FoldScaleIntoMatmul(), before, lambda emit, x: emit(op.matmul(x, f32(scaled))), (2, 4, 3), rtol=1e-5
    )


def matmul_used_twice(emit, x):
    product = emit(op.matmul(x, constant((3, 3))))
    return op.add(emit(op.multiply(product, scalar(2))), product)


@pytest.mark.parametrize(
    "before",
    [
        matmul_used_twice,
        lambda emit, x: op.multiply(emit(op.matmul(x, constant((3, 3)))), constant((3, 1))),
        lambda emit, x: op.multiply(emit(op.matmul(x, x)), scalar(2)),
    ],
    ids=["used twice", "per row", "variable"],
)
def test_scale_that_matmul_cannot_take_stays(before):
    assert_unchanged(FoldScaleIntoMatmul(), before, (3, 3))


def test_scale_moves_before_bias():
    def before(emit, x):
        total = emit(op.add(emit(op.matmul(x, constant((3, 5)))), constant((5,), 2)))
        return op.multiply(total, scalar(0.125))

    def expected(emit, x):
        product = emit(op.multiply(emit(op.matmul(x, constant((3, 5)))), scalar(0.125)))
        return op.add(product, f32(array((5,), 2) * np.float32(0.125)))

    assert_rewritten(MoveScaleBeforeBias(), before, expected, (4, 3))
    assert_unchanged(MoveScaleBeforeBias(), lambda emit, x: op.multiply(emit(op.add(x, scalar(1))), scalar(2)), (4, 3))


@pytest.mark.parametrize(("call", "merge"), [(op.add, np.add), (op.multiply, np.multiply)])
def test_constants_of_a_chain_are_merged(call, merge):
    first, second = array((3, 1)), array((1,), 2)

    def before(emit, x):
        return call(emit(call(x, f32(first))), f32(second))

    merged = merge(first.astype("float64"), second.astype("float64"))
    assert_rewritten(MergeConstantOperands(), before, lambda emit, x: call(x, f32(merged)), (2, 3, 4))


def chain_read_twice(emit, x):
    inner = emit(op.add(x, scalar(1)))
    return op.multiply(emit(op.add(inner, scalar(2))), inner)


@pytest.mark.parametrize(
    "before",
    [
        chain_read_twice,
        lambda emit, x: op.add(emit(op.add(x, constant((3, 1)))), constant((1, 4))),
        lambda emit, x: op.add(emit(op.add(x, constant((1, 1)))), constant((2, 3, 4))),
        lambda emit, x: op.multiply(emit(op.add(x, scalar(1))), scalar(2)),
        lambda emit, x: op.multiply(emit(op.multiply(x, scalar(1e30))), scalar(1e30)),
    ],
    ids=["used twice", "outer product", "broadcast", "two operators", "overflow"],
)
def test_chains_that_stay(before):
    shape = (1, 1) if "broadcast" in before.__name__ else (3, 4)
    assert_unchanged(MergeConstantOperands(), before, shape)


def test_constant_moves_to_the_right():
    def before(emit, x):
        return op.add(scalar(1), x)

    assert_rewritten(ConstantToTheRight(), before, lambda emit, x: op.add(x, scalar(1)), (3,))
    assert_unchanged(ConstantToTheRight(), lambda emit, x: op.subtract(scalar(1), x), (3,))


def test_division_by_a_constant():
    def before(emit, x):
        return op.divide(x, f32([8, 3]))

    reciprocal = np.float32(1) / np.array([8, 3], "float32")
    assert_rewritten(DivideToMultiply(), before, lambda emit, x: op.multiply(x, f32(reciprocal)), (5, 2))


@pytest.mark.parametrize("divisor", [0.0, 3e38, 1e-39, np.inf])
def test_division_without_a_normal_reciprocal_stays(divisor):
    assert_unchanged(DivideToMultiply(), lambda emit, x: op.divide(x, scalar(divisor)), (3,))


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32"])
def test_division_of_other_types_stays(dtype):
    assert_unchanged(DivideToMultiply(), lambda emit, x: op.divide(x, relax.const(3, dtype)), ((3,), dtype))


def test_subtraction_of_a_constant():
    def before(emit, x):
        return op.subtract(x, f32([1, -2]))

    assert_rewritten(SubtractToAdd(), before, lambda emit, x: op.add(x, f32([-1, 2])), (3, 2))
    assert_unchanged(SubtractToAdd(), lambda emit, x: op.subtract(x, relax.const(3, "uint8")), ((3,), "uint8"))


def test_powers():
    rewrite = PowerToMultiply()
    assert_rewritten(rewrite, lambda e, x: op.power(x, scalar(2)), lambda e, x: op.multiply(x, x), (5,))
    assert_rewritten(rewrite, lambda e, x: op.square(x), lambda e, x: op.multiply(x, x), (5,))
    cube = lambda e, x: op.multiply(e(op.multiply(x, x)), x)  # noqa: E731
    assert_rewritten(rewrite, lambda e, x: op.power(x, scalar(3)), cube, (5,))
    root = build_module(lambda e, x: op.power(e(op.abs(x)), scalar(0.5)), (5,))
    assert_computes_the_same(root, rewrite(root), [(5,)])
    assert "R.sqrt" in rewrite(root).script()
    assert_unchanged(rewrite, lambda e, x: op.power(x, scalar(2.5)), (5,))
    assert_unchanged(rewrite, lambda e, x: op.power(x, f32([2, 3])), (5, 2))
