"""Composite operators are recognised however they are written, and nothing else is."""

import math

import numpy as np
import pytest
import torch
from relax_modules import array, assert_rewritten, assert_unchanged, build_module, constant, random_inputs, scalar
from relax_runner import run_module
from tvm import relax
from tvm.relax import op

from tilewright.passes.simplify import simplify
from tilewright.passes.simplify.fold_scale_into_norm import FoldScaleIntoNorm
from tilewright.passes.simplify.recognize_gelu import RecognizeGelu
from tilewright.passes.simplify.recognize_norm import RecognizeLayerNorm, RecognizeRmsNorm
from tilewright.passes.simplify.recognize_silu import RecognizeSilu
from tilewright.passes.simplify.recognize_softmax import RecognizeSoftmax

HALF, ONE, TWO = 0.5, 1.0, 2.0
ROOT = math.sqrt(2)
SHAPE = (3, 4, 8)


def gate(emit, x, argument=None):
    argument = emit(op.divide(x, scalar(ROOT))) if argument is None else argument
    return emit(op.add(emit(op.erf(argument)), scalar(ONE)))


def complement(emit, x):
    """Return erfc(x / sqrt(2))."""
    return emit(op.subtract(scalar(ONE), emit(op.erf(emit(op.divide(x, scalar(ROOT)))))))


GELUS = {
    "(x * 0.5) * gate": lambda e, x: op.multiply(e(op.multiply(x, scalar(HALF))), gate(e, x)),
    "x * (0.5 * gate)": lambda e, x: op.multiply(x, e(op.multiply(scalar(HALF), gate(e, x)))),
    "(x * gate) * 0.5": lambda e, x: op.multiply(e(op.multiply(x, gate(e, x))), scalar(HALF)),
    "(gate * x) / 2": lambda e, x: op.divide(e(op.multiply(gate(e, x), x)), scalar(TWO)),
    "x / 2 * gate": lambda e, x: op.multiply(e(op.divide(x, scalar(TWO))), gate(e, x)),
    "rounded root": lambda e, x: op.multiply(
        e(op.multiply(x, scalar(HALF))), gate(e, x, e(op.multiply(x, scalar(0.70710678))))
    ),
    "complement": lambda e, x: op.multiply(e(op.multiply(x, scalar(HALF))), complement(e, e(op.negative(x)))),
    "complement by a factor": lambda e, x: op.multiply(
        x, e(op.multiply(complement(e, e(op.multiply(x, scalar(-ONE)))), scalar(HALF)))
    ),
    "gate of a negative": lambda e, x: op.multiply(
        e(op.multiply(x, scalar(HALF))),
        e(op.add(e(op.multiply(e(op.erf(e(op.divide(x, scalar(-ROOT))))), scalar(-ONE))), scalar(ONE))),
    ),
}


@pytest.mark.parametrize("name", GELUS)
def test_gelu(name):
    assert_rewritten(RecognizeGelu(), GELUS[name], lambda emit, x: op.nn.gelu(x), SHAPE, rtol=1e-5)


def test_gelu_of_a_product():
    def before(emit, x):
        y = emit(op.multiply(x, scalar(3)))
        return op.multiply(emit(op.multiply(y, scalar(HALF))), gate(emit, y))

    def expected(emit, x):
        return op.nn.gelu(emit(op.multiply(x, scalar(3))))

    assert_rewritten(RecognizeGelu(), before, expected, SHAPE, rtol=1e-5)


def cubic(emit, x):
    cube = emit(op.multiply(emit(op.power(x, scalar(3))), scalar(0.044715)))
    return emit(op.multiply(emit(op.add(x, cube)), scalar(math.sqrt(2 / math.pi))))


def factored_cubic(emit, x):
    square = emit(op.multiply(emit(op.multiply(x, x)), scalar(0.044715)))
    return emit(op.multiply(emit(op.multiply(x, scalar(0.7978846))), emit(op.add(square, scalar(1)))))


@pytest.mark.parametrize("argument", [cubic, factored_cubic])
def test_gelu_by_tanh(argument):
    def before(emit, x):
        open_gate = emit(op.add(scalar(ONE), emit(op.tanh(argument(emit, x)))))
        return op.multiply(emit(op.multiply(scalar(HALF), x)), open_gate)

    rewritten = simplify(build_module(before, SHAPE))
    assert [str(each.value.op.name) for each in rewritten["main"].body.blocks[0].bindings[:-1]] == [
        "relax.nn.gelu_tanh"
    ]
    (x,) = random_inputs([SHAPE])
    wanted = torch.nn.functional.gelu(torch.from_numpy(x), approximate="tanh").numpy()
    np.testing.assert_allclose(run_module(rewritten, [x])[0], wanted, rtol=1e-5, atol=1e-6)


NOT_GELUS = {
    "no half": lambda e, x: op.multiply(x, gate(e, x)),
    "other slope": lambda e, x: op.multiply(e(op.multiply(x, scalar(HALF))), gate(e, x, e(op.divide(x, scalar(1.5))))),
    "other variable": lambda e, x: op.multiply(e(op.multiply(e(op.exp(x)), scalar(HALF))), gate(e, x)),
    "gate by two": lambda e, x: op.multiply(
        e(op.multiply(x, scalar(HALF))), e(op.add(e(op.erf(e(op.divide(x, scalar(ROOT))))), scalar(TWO)))
    ),
    "squared": lambda e, x: op.multiply(e(op.multiply(e(op.multiply(x, x)), scalar(HALF))), gate(e, x)),
    "the other side": lambda e, x: op.multiply(e(op.multiply(x, scalar(HALF))), complement(e, x)),
    "two over": lambda e, x: op.divide(scalar(HALF), e(op.multiply(x, gate(e, x)))),
}


@pytest.mark.parametrize("name", NOT_GELUS)
def test_what_is_no_gelu_stays(name):
    assert_unchanged(RecognizeGelu(), NOT_GELUS[name], SHAPE)


def test_silu():
    expected = lambda emit, x: op.nn.silu(x)  # noqa: E731
    assert_rewritten(RecognizeSilu(), lambda e, x: op.multiply(x, e(op.sigmoid(x))), expected, SHAPE)
    assert_rewritten(RecognizeSilu(), lambda e, x: op.multiply(e(op.sigmoid(x)), x), expected, SHAPE)


def test_what_is_no_silu_stays():
    def gate_read_twice(emit, x):
        open_gate = emit(op.sigmoid(x))
        return [op.multiply(x, open_gate), open_gate]

    assert_unchanged(RecognizeSilu(), gate_read_twice, SHAPE)
    assert_unchanged(RecognizeSilu(), lambda e, x, y: op.multiply(y, e(op.sigmoid(x))), SHAPE, SHAPE)


def centred(emit, x, axes=(-1,)):
    return emit(op.subtract(x, emit(op.mean(x, list(axes), True))))


def variance_of(emit, d, axes=(-1,), power=True):
    square = emit(op.power(d, scalar(TWO))) if power else emit(op.multiply(d, d))
    return emit(op.add(emit(op.mean(square, list(axes), True)), scalar(1e-5)))


def layer_norm_by_division(emit, x, axes=(-1,), power=False):
    d = centred(emit, x, axes)
    return emit(op.divide(d, emit(op.sqrt(variance_of(emit, d, axes, power)))))


def layer_norm_by_rsqrt(emit, x):
    d = centred(emit, x)
    return emit(op.multiply(d, emit(op.rsqrt(variance_of(emit, d, power=False)))))


def layer_norm_by_reciprocal(emit, x):
    d = centred(emit, x)
    root = emit(op.sqrt(variance_of(emit, d, power=False)))
    return emit(op.multiply(emit(op.divide(scalar(ONE), root)), d))


def layer_norm_by_variance(emit, x):
    moment = emit(op.add(emit(op.variance(x, [-1], True)), scalar(1e-5)))
    return emit(op.divide(centred(emit, x), emit(op.sqrt(moment))))


def plain_layer_norm(axes, shape):
    ones, zeros = relax.const(np.ones(shape, "float32")), relax.const(np.zeros(shape, "float32"))
    return lambda emit, x: emit(op.nn.layer_norm(x, ones, zeros, list(axes), 9.999999747378752e-06))


@pytest.mark.parametrize(
    "before", [layer_norm_by_division, layer_norm_by_rsqrt, layer_norm_by_reciprocal, layer_norm_by_variance]
)
def test_layer_norm(before):
    assert_rewritten(RecognizeLayerNorm(), before, plain_layer_norm((2,), (8,)), SHAPE, rtol=1e-4)


def test_layer_norm_over_two_axes():
    def before(emit, x):
        return layer_norm_by_division(emit, x, (-2, -1))

    assert_rewritten(RecognizeLayerNorm(), before, plain_layer_norm((1, 2), (4, 8)), SHAPE, rtol=1e-4)


def test_layer_norm_with_its_scale_and_bias_agrees_with_torch():
    def before(emit, x):
        normal = layer_norm_by_division(emit, x, power=True)
        return op.add(emit(op.multiply(constant((8,), 1), normal)), constant((1, 1, 8), 2))

    module = simplify(build_module(before, SHAPE))
    calls = [str(each.value.op.name) for each in module["main"].body.blocks[0].bindings[:-1]]
    assert calls == ["relax.nn.layer_norm"]
    (x,) = random_inputs([SHAPE])
    gamma, beta = torch.from_numpy(array((8,), 1)), torch.from_numpy(array((8,), 2))
    wanted = torch.nn.functional.layer_norm(torch.from_numpy(x), (8,), gamma, beta, 1e-5)
    np.testing.assert_allclose(run_module(module, [x])[0], wanted.numpy(), rtol=1e-4, atol=1e-5)


def layer_norm_with_other_moment(emit, x):
    d = centred(emit, x)
    return emit(op.divide(d, emit(op.sqrt(variance_of(emit, d, (1,), power=False)))))


def layer_norm_of_squares_of_x(emit, x):
    return emit(op.divide(centred(emit, x), emit(op.sqrt(variance_of(emit, x, power=False)))))


@pytest.mark.parametrize(
    "before",
    [
        lambda emit, x: layer_norm_by_division(emit, x, (1,)),
        layer_norm_with_other_moment,
        layer_norm_of_squares_of_x,
    ],
    ids=["not the last axis", "moment over another axis", "moment of another value"],
)
def test_what_is_no_layer_norm_stays(before):
    assert_unchanged(RecognizeLayerNorm(), before, SHAPE)


def test_rms_norm():
    def before(emit, x):
        return emit(op.multiply(x, emit(op.rsqrt(variance_of(emit, x, power=False)))))

    def expected(emit, x):
        ones = relax.const(np.ones((8,), "float32"))
        return emit(op.nn.rms_norm(x, ones, [2], 9.999999747378752e-06))

    assert_rewritten(RecognizeRmsNorm(), before, expected, SHAPE, rtol=1e-5)

    def over_the_middle(emit, x):
        return emit(op.multiply(x, emit(op.rsqrt(variance_of(emit, x, (1,), power=False)))))

    assert_unchanged(RecognizeRmsNorm(), over_the_middle, SHAPE)


def norm(emit, x):
    return emit(op.nn.layer_norm(x, constant((8,), 3), constant((8,), 4), [-1]))


def test_scale_and_bias_are_folded_into_layer_norm():
    def before(emit, x):
        return op.add(emit(op.multiply(norm(emit, x), constant((8,), 5))), scalar(2))

    def expected(emit, x):
        gamma = relax.const(array((8,), 3) * array((8,), 5))
        beta = relax.const(array((8,), 4) * array((8,), 5) + np.float32(2))
        return emit(op.nn.layer_norm(x, gamma, beta, [-1]))

    assert_rewritten(FoldScaleIntoNorm(), before, expected, SHAPE, rtol=1e-5)


@pytest.mark.parametrize(
    "before",
    [
        lambda emit, x: op.multiply(norm(emit, x), constant((4, 1))),
        lambda emit, x: op.add(emit(op.nn.rms_norm(x, constant((8,)))), constant((8,))),
        lambda emit, x: (lambda y: [op.add(y, constant((8,))), y])(norm(emit, x)),
    ],
    ids=["per row", "rms norm has no bias", "read twice"],
)
def test_what_a_norm_cannot_take_stays(before):
    assert_unchanged(FoldScaleIntoNorm(), before, SHAPE)


def test_softmax():
    def shifted(emit, x):
        e = emit(op.exp(emit(op.subtract(x, emit(op.max(x, [-1], True))))))
        return emit(op.divide(e, emit(op.sum(e, [-1], True))))

    def plain(emit, x):
        e = emit(op.exp(x))
        return emit(op.divide(e, emit(op.sum(e, [1], True))))

    assert_rewritten(RecognizeSoftmax(), shifted, lambda emit, x: emit(op.nn.softmax(x, 2)), SHAPE)
    assert_rewritten(RecognizeSoftmax(), plain, lambda emit, x: emit(op.nn.softmax(x, 1)), SHAPE)


def test_what_is_no_softmax_stays():
    def two_axes(emit, x):
        e = emit(op.exp(x))
        return emit(op.divide(e, emit(op.sum(e, [1, 2], True))))

    def other_numerator(emit, x, y):
        return emit(op.divide(emit(op.exp(y)), emit(op.sum(emit(op.exp(x)), [1], True))))

    assert_unchanged(RecognizeSoftmax(), two_axes, SHAPE)
    assert_unchanged(RecognizeSoftmax(), other_numerator, SHAPE, SHAPE)
