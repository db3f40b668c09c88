"""How tensors between kernels are stored: before and expected, and that the stored module computes the same."""

import numpy as np
import pytest
from groups import group_calls
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import INPUTS, random_network
from relax_modules import array, assert_computes_the_same, build_module, constant
from tvm import relax
from tvm.relax import op

from tilewright.layout import Layout
from tilewright.passes.fusion import fuse
from tilewright.passes.fusion.spec import check
from tilewright.passes.layout import assign_layouts
from tilewright.passes.spec import check_main_form
from tilewright.schedules.template import choose_layouts
from tilewright.targets.database import load_target
from tilewright.tvm_names import constant_value, is_constant

TARGET = load_target("x86-64-v3")
BLOCKED = Layout("NCHW", "NCHW8c")
IMAGE = (1, 8, 6, 6)


def choose(work):
    return choose_layouts(work, TARGET, "exact")


def stored(build, *inputs, rtol=1e-5, atol=2e-6):
    """Fuse and lay a module out, check it and its numbers, and return it."""
    before = build_module(build, *inputs)
    groups = fuse(before)
    text = groups.script(show_meta=False)
    after = assign_layouts(groups, choose)
    assert groups.script(show_meta=False) == text
    relax.analysis.well_formed(after)
    check_main_form(after)
    check(after)
    assert_computes_the_same(before, after, inputs, rtol=rtol, atol=atol)
    return after


def conv(emit, x, seed=1, channels=(8, 8), kernel=3):
    weight = constant((channels[1], channels[0], kernel, kernel), seed, low=-0.3, high=0.3)
    return emit(op.nn.conv2d(x, weight, padding=kernel // 2))


def families(module):
    return [each.work.family for each in group_calls(module)]


def layout_names(call):
    """The layouts of inputs and outputs, "-" for row-major."""
    return [each.layout.name if each.layout else "-" for each in (*call.work.inputs, *call.work.outputs)]


def constants_of(module):
    calls = [binding.value for binding in module["main"].body.blocks[0].bindings]
    return [constant_value(arg) for call in calls for arg in getattr(call, "args", []) if is_constant(arg)]


def test_a_chain_of_convolutions_is_transformed_at_its_ends_only():
    def before(emit, x):
        y = emit(op.nn.relu(conv(emit, x, 1)))
        y = emit(op.nn.max_pool2d(y, (2, 2)))
        return conv(emit, emit(op.nn.relu(y)), 2)

    after = stored(before, IMAGE)
    assert families(after) == ["layout_transform", "conv2d", "pool2d", "conv2d", "layout_transform"]
    first, *_, last = group_calls(after)
    assert layout_names(first) == ["-", "NCHW8c"]
    assert layout_names(last) == ["NCHW8c", "-"]
    assert first.args == ("x0",)


def test_weights_are_packed_now():
    """No weight is transformed at run time, and the packed ones hold the same numbers."""
    weight, bias = array((8, 8, 3, 3), 1), array((1, 8, 1, 1), 2)

    def before(emit, x):
        y = emit(op.nn.conv2d(x, relax.const(weight), padding=1))
        return emit(op.add(y, relax.const(bias)))

    after = stored(before, IMAGE)
    _, call, _ = group_calls(after)
    assert layout_names(call) == ["NCHW8c", "OIHW8i8o", "NCHW8c", "NCHW8c"]
    found = constants_of(after)
    np.testing.assert_array_equal(found[0], Layout("OIHW", "OIHW8i8o").pack(weight))
    np.testing.assert_array_equal(found[1], BLOCKED.pack(bias))


def test_a_residual_is_transformed_once_for_all_who_read_it():
    def before(emit, x):
        first = emit(op.add(conv(emit, x, 1), x))
        second = emit(op.add(conv(emit, x, 2), x))
        return [first, second]

    after = stored(before, IMAGE)
    assert families(after).count("layout_transform") == 3
    transform, *_ = group_calls(after)
    assert layout_names(transform) == ["-", "NCHW8c"]


def test_a_result_is_transformed_once_for_all_who_read_rows():
    def before(emit, x):
        y = conv(emit, x)
        return [y, emit(op.tril(y)), emit(op.reshape(y, (8, 36)))]

    after = stored(before, IMAGE)
    assert families(after) == ["layout_transform", "conv2d", "layout_transform", "opaque"]


def test_pointwise_kernels_and_reductions_take_what_their_operand_has():
    def before(emit, x):
        y = conv(emit, x)
        shared = [conv(emit, y, 2), emit(op.sigmoid(y))]
        return [*shared, emit(op.mean(y, [2, 3], keepdims=True)), emit(op.mean(y, [2, 3]))]

    after = stored(before, IMAGE)
    pointwise = next(each for each in group_calls(after) if each.work.family == "pointwise")
    assert layout_names(pointwise) == ["NCHW8c", "NCHW8c"]
    kept, dropped = (each for each in group_calls(after) if each.work.family == "reduce")
    assert layout_names(kept) == ["NCHW8c", "NCHW8c"]
    assert layout_names(dropped) == ["NCHW8c", "-"]


@pytest.mark.parametrize("axes", [[1], [1, 2], [0, 1, 2, 3]])
def test_reductions_over_a_blocked_axis_read_rows(axes):
    after = stored(lambda emit, x: emit(op.mean(conv(emit, x), axes)), IMAGE)
    (reduction,) = [each for each in group_calls(after) if each.work.family == "reduce"]
    assert layout_names(reduction) == ["-", "-"]


@pytest.mark.parametrize(
    ("shape", "channels", "expected"),
    [
        ((1, 8, 1, 1), 8, ["NCHW8c", "NCHW8c", "NCHW8c"]),
        ((1, 7, 1, 1), 7, ["NCHW8c", "NCHW8c", "NCHW8c"]),
        ((8, 1, 1), 8, ["NCHW8c", "-", "NCHW8c"]),
        ((7, 1, 1), 7, ["-", "-", "-"]),
        ((8, 6, 6), 8, ["NCHW8c", "-", "NCHW8c"]),
        ((1, 1, 6, 6), 7, ["NCHW8c", "-", "NCHW8c"]),
        ((6,), 7, ["NCHW8c", "-", "NCHW8c"]),
        ((1, 1, 1), 7, ["NCHW8c", "-", "NCHW8c"]),
    ],
)
def test_operands_that_broadcast_to_a_blocked_one(shape, channels, expected):
    """Blocked likewise where they have all its axes; rows where a block ends with their channels or they have none.

    An operand of lower rank with part of a block has no padding to read: then all operands are rows.
    """

    def before(emit, x, other):
        y = conv(emit, x, 1, (8, channels))
        return [y, emit(op.maximum(y, other))]

    after = stored(before, IMAGE, shape)
    (pointwise,) = [each for each in group_calls(after) if each.work.family == "pointwise"]
    assert layout_names(pointwise) == expected


def test_packed_products_keep_rows_between_them():
    def before(emit, x):
        y = emit(op.nn.relu(emit(op.matmul(x, constant((12, 20), 1)))))
        return emit(op.matmul(y, emit(op.permute_dims(constant((9, 20), 2), [1, 0]))))

    after = stored(before, (5, 12))
    assert families(after) == ["matmul", "matmul"]
    assert [layout_names(each) for each in group_calls(after)] == [["-", "NK8n", "-"]] * 2


def test_without_wishes_nothing_changes():
    before = fuse(build_module(lambda emit, x: emit(op.nn.relu(conv(emit, x))), IMAGE))
    after = assign_layouts(before, lambda work: None)
    assert [each.work for each in group_calls(after)] == [each.work for each in group_calls(before)]


def test_constants_keep_their_element_type():
    """A blocked tensor becomes float64 and meets a constant, which is packed in 64 bits."""

    def before(emit, x):
        y = conv(emit, x)
        wide = emit(op.astype(y, "float64"))
        return [y, emit(op.add(wide, relax.const(array((1, 8, 1, 1)).astype("float64"), "float64")))]

    after = stored(before, IMAGE)
    calls = group_calls(after)
    assert "NCHW8c" in layout_names(next(each for each in calls if each.work.output.dtype == "float64"))
    assert {str(each.dtype) for each in constants_of(after)} == {"float32", "float64"}


def test_laying_out_twice_gives_the_same_module():
    def before(emit, x):
        y = emit(op.nn.relu(conv(emit, x)))
        return [emit(op.tril(y)), emit(op.add(conv(emit, y, 2), x))]

    scripts = {assign_layouts(fuse(build_module(before, IMAGE)), choose).script(show_meta=False) for _ in range(2)}
    assert len(scripts) == 1


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.data())
def test_networks_compute_the_same_however_they_are_stored(data):
    kinds = ("convolution", "convolution", "unary", "binary", "binary", "reduction", "pool", "product", "opaque")
    stored(lambda emit, *inputs: random_network(data.draw, emit, *inputs, kinds=kinds, largest=8), *INPUTS, atol=1e-5)
