"""Which convolutions become one chain: before and expected, and that the whole computes what the parts did."""

import pytest
from groups import group_calls, shape_of_groups
from relax_modules import assert_computes_the_same, build_module, constant
from tvm import relax
from tvm.relax import op

from tilewright.conv_chain import stages_of
from tilewright.passes.fusion import fuse
from tilewright.passes.fusion.conv_chain import join_conv_chains
from tilewright.passes.fusion.spec import check
from tilewright.passes.spec import check_main_form
from tilewright.workload import Workload

IMAGE = (2, 6, 9, 8)
HIDDEN = 12


def most_stages(work):
    return float(len(work.inner))


def joined(build, *inputs, saves=most_stages):
    """Fuse a module and join its chains, check it and its numbers, and return it."""
    before = build_module(build, *inputs)
    after = join_conv_chains(fuse(before), saves)
    relax.analysis.well_formed(after)
    check_main_form(after)
    check(after)
    assert_computes_the_same(before, after, inputs, rtol=5e-6)
    return after


def expand(emit, x, channels=6):
    return emit(op.clip(emit(op.nn.conv2d(x, constant((HIDDEN, channels, 1, 1)))), 0, 6))


def depthwise(emit, x, strides=1):
    weight = constant((HIDDEN, 1, 3, 3), seed=1)
    return emit(op.nn.relu(emit(op.nn.conv2d(x, weight, strides=strides, padding=(1, 1, 1, 1), groups=HIDDEN))))


def project(emit, x, out=6, **attrs):
    return emit(op.nn.conv2d(x, constant((out, HIDDEN, 1, 1), seed=2), **attrs))


def test_an_inverted_residual_block_is_one_group():
    """The residual is an operand of the epilogue, the other activations are programs between the stages."""

    def before(emit, x):
        return emit(op.add(project(emit, depthwise(emit, expand(emit, x))), x))

    (call,) = group_calls(joined(before, IMAGE))
    assert call.args == ("x0", "const", "const", "const", "x0")
    assert call.operators == ("nn.conv2d", "clip", "nn.conv2d", "nn.relu", "nn.conv2d", "add")
    assert call.work.family == "conv2d_chain"
    assert call.work.anchor_arity == 4
    assert [[each.op for each in program.steps] for program in call.work.inner] == [["clip"], ["nn.relu"]]
    assert [each.op for each in call.work.epilogue.steps] == ["add"]
    assert Workload.from_json(call.work.to_json()) == call.work


def test_the_stages_of_a_chain_are_the_groups_before():
    def before(emit, x):
        return project(emit, depthwise(emit, expand(emit, x), strides=2))

    parts = [call.work for call in group_calls(fuse(build_module(before, IMAGE)))]
    (call,) = group_calls(joined(before, IMAGE))
    assert stages_of(call.work) == parts


def test_operands_of_the_programs_between_stages_keep_their_places():
    """A bias and a tensor of the result's size in each stage."""

    def before(emit, x, first, second, third):
        e = emit(
            op.add(emit(op.add(emit(op.nn.conv2d(x, constant((HIDDEN, 6, 1, 1)))), constant((HIDDEN, 1, 1)))), first)
        )
        d = emit(op.multiply(emit(op.nn.conv2d(e, constant((HIDDEN, 1, 3, 3)), groups=HIDDEN)), second))
        return emit(op.subtract(project(emit, d), third))

    (call,) = group_calls(joined(before, IMAGE, (2, HIDDEN, 9, 8), (2, HIDDEN, 7, 6), (2, 6, 7, 6)))
    assert call.args == ("x0", "const", "const", "const", "const", "x1", "x2", "x3")
    assert call.work.anchor_arity == 7


def test_before_squeeze_and_excite_the_first_two_join():
    """The depthwise result is read twice: by the mean and by what it scales."""

    def before(emit, x):
        d = depthwise(emit, expand(emit, x))
        scale = emit(op.sigmoid(emit(op.mean(d, [2, 3], keepdims=True))))
        return project(emit, emit(op.multiply(d, scale)))

    chain, *others = shape_of_groups(joined(before, IMAGE))
    assert chain == "nn.conv2d clip nn.conv2d nn.relu"
    assert others == ["mean sigmoid", "multiply", "nn.conv2d"]


def test_a_depthwise_and_a_pointwise_convolution_join():
    def before(emit, x):
        return project(emit, depthwise(emit, x))

    assert shape_of_groups(joined(before, (1, HIDDEN, 7, 7))) == ["nn.conv2d nn.relu nn.conv2d"]


def test_of_the_chains_around_a_convolution_the_one_that_saves_most_is_formed():
    def before(emit, x):
        return project(emit, depthwise(emit, expand(emit, x)))

    def saves(work):
        return {(6, 12): 1.0, (6, 6): 2.0, (12, 6): 3.0}[work.inputs[0].shape[1], work.output.shape[1]]

    assert shape_of_groups(joined(before, IMAGE, saves=saves)) == ["nn.conv2d clip", "nn.conv2d nn.relu nn.conv2d"]
    assert len(group_calls(joined(before, IMAGE, saves=lambda work: 0.0))) == 3


def test_neighbouring_chains_share_no_stage():
    """A pointwise convolution between two depthwise ones belongs to the first."""

    def before(emit, x):
        return project(emit, depthwise(emit, project(emit, depthwise(emit, x), HIDDEN)))

    calls = group_calls(joined(before, (1, HIDDEN, 7, 7)))
    assert [call.operators for call in calls] == [("nn.conv2d", "nn.relu", "nn.conv2d")] * 2


def test_equal_chains_share_a_function():
    def before(emit, x, y):
        ends = [project(emit, depthwise(emit, expand(emit, each))) for each in (x, y)]
        return emit(op.concat(ends, 1))

    first, second, _ = group_calls(joined(before, IMAGE, IMAGE))
    assert first.function == second.function


@pytest.mark.parametrize(
    "tail",
    [
        lambda emit, d: emit(op.add(d, project(emit, d, HIDDEN))),
        lambda emit, d: project(emit, d, strides=2),
        lambda emit, d: project(emit, d, padding=(1, 1, 1, 1)),
        lambda emit, d: emit(op.nn.conv2d(d, constant((6, HIDDEN, 3, 3)))),
    ],
    ids=["read twice", "strided", "padded", "wider window"],
)
def test_no_projection(tail):
    """What is no pointwise convolution over the same pixels, or not the only reader, stays apart."""
    calls = group_calls(joined(lambda emit, x: tail(emit, depthwise(emit, x)), (1, HIDDEN, 7, 7)))
    assert all(call.work.family != "conv2d_chain" for call in calls)


def test_a_residual_around_the_depthwise_convolution_keeps_it_apart():
    """Its epilogue reads the data of the stage again, which a chain does not keep."""

    def before(emit, x):
        e = expand(emit, x)
        return emit(op.add(depthwise(emit, e), e))

    assert all(call.work.family != "conv2d_chain" for call in group_calls(joined(before, IMAGE)))
