"""Rewrites of what only moves or renames elements."""

import numpy as np
import pytest
from relax_modules import assert_computes_the_same, assert_rewritten, assert_unchanged, build_module, constant, scalar
from tvm import relax
from tvm.relax import op

from tilewright.passes.simplify.drop_broadcast import DropBroadcast
from tilewright.passes.simplify.fold_constants import FoldConstants
from tilewright.passes.simplify.merge_common_subexpressions import MergeCommonSubexpressions
from tilewright.passes.simplify.merge_reshapes import MergeReshapes
from tilewright.passes.simplify.remove_identity import RemoveDropout, RemoveIdentity, RemoveTupleAccess
from tilewright.passes.simplify.squeeze_to_reshape import SqueezeToReshape, TransposeOfUnitAxesToReshape

IDENTITIES = {
    "reshape": lambda x: op.reshape(x, (2, 3, 4)),
    "astype": lambda x: op.astype(x, "float32"),
    "permute_dims": lambda x: op.permute_dims(x, [0, 1, 2]),
    "broadcast_to": lambda x: op.broadcast_to(x, (2, 3, 4)),
    "strided_slice": lambda x: op.strided_slice(x, [0, 2], [0, 0], [2, 4]),
    "concat": lambda x: op.concat([x], axis=1),
    "pad": lambda x: op.nn.pad(x, (0,) * 6),
    "tile": lambda x: op.tile(x, (1, 1, 1)),
    "add": lambda x: op.add(x, relax.const(np.zeros((3, 1), "float32"))),
    "subtract": lambda x: op.subtract(x, scalar(0)),
    "multiply": lambda x: op.multiply(x, scalar(1)),
    "divide": lambda x: op.divide(x, scalar(1)),
    "power": lambda x: op.power(x, scalar(1)),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_identity_is_removed(name):
    def before(emit, x):
        return op.nn.relu(emit(IDENTITIES[name](x)))

    assert_rewritten(RemoveIdentity(), before, lambda emit, x: op.nn.relu(x), (2, 3, 4))


NOT_IDENTITIES = {
    "reversed slice": lambda x: op.strided_slice(x, [0], [1], [-3], [-1]),
    "transpose of equal sizes": lambda x: op.permute_dims(x, [1, 0]),
    "add of zeros that broadcasts": lambda x: op.add(x, relax.const(np.zeros((2, 2, 2), "float32"))),
    "one zero among others": lambda x: op.add(x, relax.const(np.array([0, 1], "float32"))),
    "subtraction from zero": lambda x: op.subtract(scalar(0), x),
    "multiply by two": lambda x: op.multiply(x, scalar(2)),
    "cast": lambda x: op.astype(x, "int32"),
    "add of a variable": lambda x: op.add(x, x),
}


@pytest.mark.parametrize("name", NOT_IDENTITIES)
def test_what_is_no_identity_stays(name):
    assert_unchanged(RemoveIdentity(), lambda emit, x: emit(NOT_IDENTITIES[name](x)), (2, 2))


def test_reduction_of_unit_axes_is_removed():
    assert_rewritten(RemoveIdentity(), lambda emit, x: emit(op.mean(x, [1], True)), lambda emit, x: x, (2, 1))
    assert_unchanged(RemoveIdentity(), lambda emit, x: emit(op.mean(x, [0], True)), (2, 1))


def test_an_identity_as_output_returns_the_input():
    assert_rewritten(RemoveIdentity(), lambda emit, x: [emit(op.reshape(x, (4,))), x], lambda emit, x: [x, x], (4,))


def test_dropout_is_removed():
    def before(emit, x):
        return op.nn.relu(emit(relax.TupleGetItem(emit(op.nn.dropout(x, 0.4)), 0)))

    module = RemoveDropout()(build_module(before, (3,)))
    assert_unchanged(RemoveDropout(), lambda emit, x: op.nn.relu(x), (3,))
    assert "dropout" not in module.script()
    assert "relu(x0)" in module.script()


def test_field_of_a_tuple():
    def before(emit, x, y):
        pair = emit(relax.Tuple([x, y]))
        return op.exp(emit(relax.TupleGetItem(pair, 1)))

    assert_rewritten(RemoveTupleAccess(), before, lambda emit, x, y: op.exp(y), (2,), (2,))


def test_field_of_a_split_in_two_stays():
    def before(emit, x):
        halves = emit(op.split(x, 2, axis=0))
        return op.exp(emit(relax.TupleGetItem(halves, 1)))

    assert_unchanged(RemoveTupleAccess(), before, (4,))


@pytest.mark.parametrize(
    ("call", "shape"),
    [
        (lambda x: op.squeeze(x, [0]), (3, 1, 4)),
        (lambda x: op.squeeze(x), (3, 4)),
        (lambda x: op.expand_dims(x, [0, 4]), (1, 1, 3, 1, 1, 4)),
        (lambda x: op.flatten(x), (12,)),
    ],
)
def test_shape_changes_become_reshapes(call, shape):
    assert_rewritten(
        SqueezeToReshape(), lambda emit, x: emit(call(x)), lambda emit, x: emit(op.reshape(x, shape)), (1, 3, 1, 4)
    )


def test_transpose_of_unit_axes_is_a_reshape():
    def before(emit, x):
        return emit(op.permute_dims(x, [0, 2, 3, 1]))

    rewrite = TransposeOfUnitAxesToReshape()
    assert_rewritten(rewrite, before, lambda emit, x: emit(op.reshape(x, (1, 1, 1, 5))), (1, 5, 1, 1))
    assert_unchanged(rewrite, before, (1, 5, 2, 1))


def test_reshapes_are_merged():
    def before(emit, x):
        return emit(op.reshape(emit(op.reshape(x, (6, 2))), (4, 3)))

    assert_rewritten(MergeReshapes(), before, lambda emit, x: emit(op.reshape(x, (4, 3))), (3, 4))


def test_a_reshape_read_twice_serves_both():
    def before(emit, x):
        inner = emit(op.reshape(x, (12,)))
        return [op.exp(inner), emit(op.reshape(inner, (4, 3)))]

    def expected(emit, x):
        outer = emit(op.reshape(x, (4, 3)))
        return [op.exp(emit(op.reshape(x, (12,)))), outer]

    module = MergeReshapes()(build_module(before, (3, 4)))
    assert module.script().count("R.reshape(x0") == 2
    assert_computes_the_same(module, build_module(expected, (3, 4)), [(3, 4)])


FOLDED = {
    "permute_dims": (lambda c: op.permute_dims(c, [1, 0]), lambda a: a.T),
    "reshape": (lambda c: op.reshape(c, (6,)), lambda a: a.reshape(6)),
    "concat": (lambda c: op.concat([c, c], axis=1), lambda a: np.concatenate([a, a], 1)),
    "strided_slice": (lambda c: op.strided_slice(c, [1], [-2], [3]), lambda a: a[:, -2:3]),
    "take": (lambda c: op.take(c, relax.const(np.array([2, 0])), axis=1), lambda a: a[:, [2, 0]]),
    "sqrt": (op.sqrt, np.sqrt),
    "mean": (lambda c: op.mean(c, [-1], True), lambda a: a.mean(-1, keepdims=True)),
    "where": (lambda c: op.where(op.greater(c, scalar(1)), c, scalar(0)), lambda a: np.where(a > 1, a, np.float32(0))),
    "astype": (lambda c: op.astype(c, "float64"), lambda a: a.astype("float64")),
    "divide": (lambda c: op.divide(c, scalar(3)), lambda a: a / np.float32(3)),
}


@pytest.mark.parametrize("name", FOLDED)
def test_constants_are_folded(name):
    call, compute = FOLDED[name]
    weights = constant((2, 3))
    computed = compute(weights.value.numpy())
    dtype = str(computed.dtype)
    folded = relax.const(computed, dtype)
    x = (tuple(int(dim) for dim in folded.ty.shape.values), dtype)
    assert_rewritten(
        FoldConstants(), lambda emit, x: op.add(x, emit(call(weights))), lambda emit, x: op.add(x, folded), x
    )


@pytest.mark.parametrize(("a", "b", "quotient"), [(-7, 2, -3), (7, -2, -3), (7, 2, 3)])
def test_integer_division_rounds_towards_zero(a, b, quotient):
    def before(emit, x):
        return op.add(x, emit(op.divide(relax.const(a, "int64"), relax.const(b, "int64"))))

    def expected(emit, x):
        return op.add(x, relax.const(quotient, "int64"))

    assert_rewritten(FoldConstants(), before, expected, ((2,), "int64"))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: op.exp(x),
        lambda x: op.broadcast_to(scalar(1), (1 << 8, 1 << 8)),
        lambda x: op.strided_slice(constant((4,)), [0], [3], [-5], [-1]),
        lambda x: op.take(constant((4,)), relax.const(np.array([7])), axis=0),
        lambda x: op.erf(constant((4,))),
    ],
    ids=["variable", "too large", "walks backwards", "out of bounds", "no row"],
)
def test_what_cannot_be_folded_stays(call):
    assert_unchanged(FoldConstants(), lambda emit, x: [x, emit(call(x))], (2,))


def test_broadcast_is_left_to_the_reader():
    def before(emit, x, y):
        return op.add(x, emit(op.broadcast_to(y, (2, 3, 4))))

    assert_rewritten(DropBroadcast(), before, lambda emit, x, y: op.add(x, y), (2, 3, 4), (3, 1))
    assert_unchanged(DropBroadcast(), before, (1, 4), (3, 1))


def test_broadcast_mask_of_a_choice():
    def before(emit, mask, x):
        return op.where(emit(op.broadcast_to(mask, (2, 3))), x, scalar(-1))

    def expected(emit, mask, x):
        return op.where(mask, x, scalar(-1))

    assert_rewritten(DropBroadcast(), before, expected, ((1, 3), "bool"), (2, 3))


def test_equal_values_are_computed_once():
    def before(emit, x):
        a, b = emit(op.multiply(x, scalar(3))), emit(op.multiply(x, scalar(3)))
        return op.add(emit(op.exp(a)), emit(op.exp(b)))

    def expected(emit, x):
        a = emit(op.exp(emit(op.multiply(x, scalar(3)))))
        return op.add(a, a)

    assert_rewritten(MergeCommonSubexpressions(), before, expected, (2,))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda x: op.mean(x, [0], True), lambda x: op.mean(x, [1], True)),
        (lambda x: op.add(x, scalar(1)), lambda x: op.add(x, scalar(2))),
        (lambda x: op.clip(x, 0, 1), lambda x: op.clip(x, 0, 2)),
        (lambda x: op.strided_slice(x, [0], [0], [1]), lambda x: op.strided_slice(x, [0], [1], [2])),
    ],
    ids=["attributes", "constants", "numbers", "tuples of numbers"],
)
def test_values_that_differ_are_not_merged(first, second):
    def before(emit, x):
        return op.add(emit(first(x)), emit(second(x)))

    assert_unchanged(MergeCommonSubexpressions(), before, (2, 2))
