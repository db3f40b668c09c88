"""Which groups become one attention: before and expected, and that the whole computes what the parts did."""

import math

import pytest
from groups import group_calls, shape_of_groups
from relax_modules import assert_computes_the_same, build_module, constant, scalar
from tvm import relax
from tvm.relax import op

from tilewright.passes.fusion import fuse
from tilewright.passes.fusion.attention import join_attention
from tilewright.passes.fusion.spec import check
from tilewright.passes.spec import check_main_form
from tilewright.workload import Workload

BATCH, LENGTH, HEADS, DEPTH = 2, 7, 3, 4
TOKENS = (BATCH, LENGTH, HEADS, DEPTH)
MASK = (BATCH, 1, 1, LENGTH)


def joined(build, *inputs, accepts=lambda work: True):
    """Fuse a module and join its attentions, check it and its numbers, and return it."""
    before = build_module(build, *inputs)
    after = join_attention(fuse(before), accepts)
    relax.analysis.well_formed(after)
    check_main_form(after)
    check(after)
    assert_computes_the_same(before, after, inputs, rtol=2e-6)
    return after


def heads(emit, x, order=(0, 2, 1, 3)):
    return emit(op.permute_dims(x, list(order)))


def scores_of(emit, q, k):
    return emit(op.matmul(heads(emit, q), heads(emit, k, (0, 2, 3, 1))))


def self_attention(emit, q, k, v, mask=None, guard=False):
    """Attention as exporters write it, of [batch, length, heads, depth]."""
    scores = emit(op.divide(scores_of(emit, q, k), scalar(math.sqrt(DEPTH))))
    if mask is not None:
        scores = emit(op.add(scores, mask))
    weights = emit(op.nn.softmax(scores, axis=-1))
    if guard:
        weights = emit(op.where(emit(op.isnan(weights)), scalar(0.0), weights))
    return heads(emit, emit(op.matmul(weights, heads(emit, v))))


def test_scores_softmax_and_values_are_one_group():
    """The transposes of the operands and of the result are read through and stored in place."""
    (call,) = group_calls(joined(self_attention, TOKENS, TOKENS, TOKENS))
    assert call.args == ("x0", "x1", "x2")
    assert call.work.family == "attention"
    assert call.work.anchor_arity == 3
    assert dict(call.work.attrs) == {
        "q_axes": (0, 2, 1, 3),
        "k_axes": (0, 2, 3, 1),
        "v_axes": (0, 2, 1, 3),
        "out_axes": (0, 2, 1, 3),
    }
    scale, nothing = call.work.inner
    assert [each.op for each in scale.steps] == ["const", "divide"]
    assert nothing.operands == 1
    assert nothing.steps == ()
    assert Workload.from_json(call.work.to_json()) == call.work


def test_programs_of_scores_weights_and_result_keep_their_operands_apart():
    """A mask on the scores, a factor on the weights, a residual on the result."""

    def before(emit, q, k, v, mask, factor, residual):
        scores = emit(op.add(scores_of(emit, q, k), mask))
        weights = emit(op.multiply(emit(op.nn.softmax(scores)), factor))
        return emit(op.add(emit(op.matmul(weights, heads(emit, v))), residual))

    shapes = (TOKENS, TOKENS, TOKENS, MASK, (LENGTH, LENGTH), (BATCH, HEADS, LENGTH, DEPTH))
    (call,) = group_calls(joined(before, *shapes))
    assert call.args == ("x0", "x1", "x2", "x3", "x4", "x5")
    assert call.work.anchor_arity == 5
    programs = (*call.work.inner, call.work.epilogue)
    assert [[(each.op, each.args) for each in program.steps] for program in programs] == [
        [("add", (0, 1))],
        [("multiply", (0, 1))],
        [("add", (0, 1))],
    ]


def test_the_guard_of_rows_without_any_key_comes_along():
    def before(emit, q, k, v, mask):
        return self_attention(emit, q, k, v, mask, guard=True)

    (call,) = group_calls(joined(before, TOKENS, TOKENS, TOKENS, MASK))
    assert [each.op for each in call.work.inner[1].steps] == ["const", "isnan", "where"]


def test_equal_attentions_share_a_function_whatever_they_read():
    """The first reads one tensor three times, the second three tensors."""

    def before(emit, x, y, z):
        return [self_attention(emit, x, x, x), self_attention(emit, x, y, z)]

    first, second = group_calls(joined(before, TOKENS, TOKENS, TOKENS))
    assert first.function == second.function
    assert (first.args, second.args) == (("x0", "x0", "x0"), ("x0", "x1", "x2"))


def test_it_stays_in_parts_where_no_template_makes_it():
    after = joined(self_attention, TOKENS, TOKENS, TOKENS, accepts=lambda work: False)
    assert [each.work.family for each in group_calls(after)] == ["matmul", "softmax", "matmul"]


def test_scores_that_are_a_result_too_stay_in_memory():
    def before(emit, q, k, v):
        scores = scores_of(emit, q, k)
        return [scores, emit(op.matmul(emit(op.nn.softmax(scores)), heads(emit, v)))]

    assert len(group_calls(joined(before, TOKENS, TOKENS, TOKENS))) == 3


def test_weights_that_are_read_twice_stay_in_memory():
    def before(emit, q, k, v):
        weights = emit(op.nn.softmax(scores_of(emit, q, k)))
        return emit(op.add(emit(op.matmul(weights, heads(emit, v))), emit(op.sum(weights, axis=[-1], keepdims=True))))

    assert "attention" not in {each.work.family for each in group_calls(joined(before, TOKENS, TOKENS, TOKENS))}


@pytest.mark.parametrize("axis", [1, 2])
def test_a_softmax_over_another_axis_is_no_attention(axis):
    def before(emit, q, k, v):
        return emit(op.matmul(emit(op.nn.softmax(scores_of(emit, q, k), axis=axis)), heads(emit, v)))

    assert len(group_calls(joined(before, TOKENS, TOKENS, TOKENS))) == 3


def test_products_with_weights_are_no_attention():
    """softmax(x w) u is a small network: its weights are packed when it is compiled."""

    def before(emit, x):
        hidden = emit(op.nn.softmax(emit(op.matmul(x, constant((4, 6))))))
        return emit(op.matmul(hidden, constant((6, 5))))

    assert shape_of_groups(joined(before, (7, 4))) == ["matmul", "nn.softmax", "matmul"]


def test_weights_that_are_the_second_operand_are_no_attention():
    def before(emit, q, k, v):
        weights = emit(op.nn.softmax(emit(op.matmul(q, k))))
        return emit(op.matmul(v, weights))

    assert len(group_calls(joined(before, (2, 5, 5), (2, 5, 5), (2, 5, 5)))) == 3


def test_other_groups_are_kept_as_they_are():
    def before(emit, q, k, v):
        attended = self_attention(emit, emit(op.exp(q)), k, v)
        return emit(op.sum(attended, axis=[1]))

    families = [each.work.family for each in group_calls(joined(before, TOKENS, TOKENS, TOKENS))]
    assert families == ["pointwise", "attention", "reduce"]
