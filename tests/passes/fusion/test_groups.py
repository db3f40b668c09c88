"""Which operators become one group: before and expected, and that the groups compute what the operators did."""

import numpy as np
import pytest
from groups import fused, group_calls, shape_of_groups
from relax_modules import array, build_module, constant, scalar
from tvm import relax
from tvm.relax import op

from tilewright.passes.fusion import fuse
from tilewright.workload import Workload

IMAGE = (1, 4, 6, 6)


def conv(emit, x, seed=1, out=4, kernel=3):
    weight = constant((out, 4, kernel, kernel), seed, low=-0.5, high=0.5)
    return emit(op.nn.conv2d(x, weight, padding=kernel // 2))


def test_a_chain_is_one_group():
    def before(emit, x):
        y = emit(op.add(conv(emit, x), constant((1, 4, 1, 1))))
        return emit(op.nn.relu(y))

    (call,) = group_calls(fused(before, IMAGE))
    assert call.operators == ("nn.conv2d", "add", "nn.relu")
    assert call.work.family == "conv2d"
    assert call.work.anchor_arity == 2
    assert [each.shape for each in call.work.inputs] == [IMAGE, (4, 4, 3, 3), (1, 4, 1, 1)]
    assert [(step.op, step.args) for step in call.work.epilogue.steps] == [("add", (0, 1)), ("nn.relu", (2,))]


def test_an_anchor_alone_has_no_epilogue():
    (call,) = group_calls(fused(lambda emit, x: conv(emit, x), IMAGE))
    assert call.work.epilogue is None
    assert call.work.attr("strides") == (1, 1)
    assert call.work.attr("padding") == (1, 1, 1, 1)


def test_a_region_with_one_way_out_is_one_group():
    """x * 0.5 * (1 + erf(x / sqrt 2)): the product is read twice, but only inside."""

    def before(emit, x):
        y = conv(emit, x)
        half = emit(op.multiply(y, scalar(0.5)))
        ratio = emit(op.divide(y, scalar(2**0.5)))
        error = emit(op.add(emit(op.erf(ratio)), scalar(1.0)))
        return emit(op.multiply(half, error))

    (call,) = group_calls(fused(before, IMAGE))
    assert call.operators == ("nn.conv2d", "multiply", "divide", "erf", "add", "multiply")
    assert len(call.work.inputs) == 2


def test_a_residual_sum_joins_the_first_producer_that_can_take_it():
    """Both convolutions could take the sum; it stands behind the second, which reads the first."""

    def before(emit, x):
        left, right = conv(emit, x, 1), conv(emit, x, 2)
        return emit(op.nn.relu(emit(op.add(left, right))))

    first, second = group_calls(fused(before, IMAGE))
    assert {first.operators, second.operators} == {("nn.conv2d",), ("nn.conv2d", "add", "nn.relu")}


def test_a_residual_sum_joins_the_convolution_and_not_what_stands_before_it():
    """Among a scaled pool, a convolution and their sum the convolution chooses first."""

    def before(emit, x):
        pooled = emit(op.nn.max_pool2d(x, (3, 3), padding=(1, 1)))
        shortcut = emit(op.nn.relu(emit(op.multiply(pooled, constant((1, 4, 1, 1))))))
        return emit(op.add(shortcut, conv(emit, x)))

    assert shape_of_groups(fused(before, IMAGE)) == ["nn.max_pool2d", "multiply nn.relu nn.conv2d add"]


def test_a_group_reads_no_value_that_is_made_of_its_own():
    """relu(conv) is pooled and joined with the pool's result: the sum cannot be in the convolution's group."""

    def before(emit, x):
        y = emit(op.nn.relu(conv(emit, x)))
        pooled = emit(op.nn.max_pool2d(y, (3, 3), padding=1))
        return emit(op.add(y, pooled))

    assert shape_of_groups(fused(before, IMAGE)) == ["nn.conv2d nn.relu", "nn.max_pool2d add"]


def test_several_readers_end_a_group():
    def before(emit, x):
        y = conv(emit, x)
        return [conv(emit, y, 3), emit(op.nn.relu(y))]

    assert shape_of_groups(fused(before, IMAGE)) == ["nn.conv2d", "nn.conv2d", "nn.relu"]


def test_a_result_of_the_model_ends_a_group():
    def before(emit, x):
        y = emit(op.nn.relu(conv(emit, x)))
        return [y, emit(op.exp(emit(op.negative(y))))]

    assert shape_of_groups(fused(before, IMAGE)) == ["nn.conv2d nn.relu", "negative exp"]


def test_an_input_that_is_a_result_and_a_constant_result():
    after = fused(lambda emit, x: [x, emit(op.exp(x)), constant((2,))], IMAGE)
    assert shape_of_groups(after) == ["exp"]


def test_pointwise_producers_of_an_operand_come_along():
    """exp(b) is read by the sum alone."""

    def before(emit, x, b):
        y = conv(emit, x)
        return emit(op.add(y, emit(op.exp(b))))

    (call,) = group_calls(fused(before, IMAGE, IMAGE))
    assert call.operators == ("nn.conv2d", "exp", "add")


def test_a_producer_of_another_shape_stays_outside():
    def before(emit, x, b):
        y = conv(emit, x)
        return emit(op.add(y, emit(op.exp(b))))

    assert shape_of_groups(fused(before, IMAGE, (1, 4, 1, 1))) == ["exp", "nn.conv2d add"]


@pytest.mark.parametrize("order", [(0, 1, 3, 2), (1, 0, 2, 3), (3, 1, 0, 2)])
def test_transposed_operands_are_read_where_they_lie(order):
    """The product reads its operand through the transpose, which vanishes."""
    logical = (2, 3, 5, 4)
    stored = [0] * 4
    for size, axis in zip(logical, order, strict=True):
        stored[axis] = size

    def before(emit, a, b):
        return emit(op.matmul(a, emit(op.permute_dims(b, list(order)))))

    (call,) = group_calls(fused(before, (2, 3, 6, 5), tuple(stored)))
    assert call.operators == ("permute_dims", "matmul")
    assert call.args == ("x0", "x1")
    assert call.work.attr("b_axes") == order
    assert call.work.inputs[1].shape == tuple(stored)


def test_a_transposed_result_is_stored_transposed_after_the_epilogue():
    def before(emit, a, b, bias):
        y = emit(op.add(emit(op.matmul(a, b)), bias))
        return emit(op.permute_dims(y, [0, 2, 1]))

    (call,) = group_calls(fused(before, (2, 3, 4), (2, 4, 5), (5,)))
    assert call.operators == ("matmul", "add", "permute_dims")
    assert call.work.attr("out_axes") == (0, 2, 1)
    assert call.work.output.shape == (2, 5, 3)


def test_a_transpose_that_several_products_read_vanishes_from_all():
    def before(emit, a, b, c):
        t = emit(op.permute_dims(a, [1, 0]))
        return [emit(op.matmul(b, t)), emit(op.matmul(c, t))]

    calls = group_calls(fused(before, (4, 5), (3, 5), (2, 5)))
    assert [each.operators for each in calls] == [("permute_dims", "matmul")] * 2


def test_a_transpose_that_something_else_reads_stays():
    def before(emit, a, b):
        t = emit(op.permute_dims(a, [1, 0]))
        return [emit(op.matmul(b, t)), emit(op.exp(t))]

    assert shape_of_groups(fused(before, (4, 5), (3, 5))) == ["permute_dims", "matmul", "exp"]


def test_a_transpose_before_a_product_with_a_vector_stays():
    """No family describes such a product: it is opaque and reads plain operands."""

    def before(emit, a, b):
        return emit(op.matmul(emit(op.permute_dims(a, [1, 0])), b))

    transpose, product = group_calls(fused(before, (4, 5), (4,)))
    assert transpose.work.family == "transpose"
    assert product.work.family == "opaque"


def test_a_transpose_between_two_products_belongs_to_one_of_them():
    def before(emit, a, b):
        first = emit(op.matmul(a, b))
        return emit(op.matmul(emit(op.permute_dims(first, [1, 0])), b))

    first, second = group_calls(fused(before, (4, 4), (4, 4)))
    assert first.operators == ("matmul",)
    assert second.operators == ("permute_dims", "matmul")


def test_opaque_operators_stand_alone():
    def before(emit, x):
        y = emit(op.tril(conv(emit, x)))
        return emit(op.nn.relu(y))

    calls = group_calls(fused(before, IMAGE))
    assert [each.operators for each in calls] == [("nn.conv2d",), ("tril",), ("nn.relu",)]
    assert calls[1].work.family == "opaque"
    assert calls[1].work.attr("operator") == "tril"


def test_opaque_operators_that_differ_in_attributes_do_not_share():
    def before(emit, x):
        return [emit(op.flip(x, axis)) for axis in (0, 1, 0)] + [emit(op.tril(x, diagonal)) for diagonal in (0, 1)]

    names = [each.function for each in group_calls(fused(before, (4, 4)))]
    assert len(set(names)) == 4
    assert names[0] == names[2]


def test_slices_that_differ_in_bounds_do_not_share():
    def before(emit, x):
        return [emit(op.strided_slice(x, [0], [first], [first + 2])) for first in (0, 1, 2, 0)]

    names = [each.function for each in group_calls(fused(before, (4, 3)))]
    assert len(set(names)) == 3


def test_operators_of_tuples_are_opaque():
    def before(emit, x):
        parts = emit(op.split(x, 2, axis=1))
        joined = emit(op.concat([emit(relax.TupleGetItem(parts, 1)), emit(relax.TupleGetItem(parts, 0))], axis=1))
        return emit(op.exp(joined))

    split, concat = group_calls(fused(before, (2, 6)))
    assert [each.operators for each in (split, concat)] == [("split",), ("concat", "exp")]
    assert (split.work.family, concat.work.family) == ("opaque", "rearrange")
    assert [each.shape for each in split.work.outputs] == [(2, 3), (2, 3)]
    assert len(concat.work.inputs) == 2


def test_an_opaque_operator_that_reads_a_tensor_twice():
    def before(emit, x, y):
        return [emit(op.einsum((x, y, x), "ij,ij,ij->ij")), emit(op.einsum((x, y, y), "ij,ij,ij->ij"))]

    first, second = group_calls(fused(before, (2, 3), (2, 3)))
    assert len(first.work.inputs) == 2
    assert first.function != second.function


def test_scalars_become_constants_of_the_program():
    """Of any rank; they are no operands."""

    def before(emit, x):
        y = emit(op.multiply(conv(emit, x), scalar(0.25)))
        return emit(op.add(y, relax.const(np.full((1, 1, 1), -2.0, "float32"))))

    (call,) = group_calls(fused(before, IMAGE))
    assert len(call.work.inputs) == 2
    constants = [dict(step.attrs)["value"] for step in call.work.epilogue.steps if step.op == "const"]
    assert constants == [0.25, -2.0]


def test_parameters_of_operators_are_attributes_of_steps():
    def before(emit, x):
        y = emit(op.nn.softplus(emit(op.nn.leakyrelu(x, 0.3)), 2.0, 15.0))
        return emit(op.astype(emit(op.clip(y, -1, 2)), "int32"))

    (call,) = group_calls(fused(before, (7,)))
    assert [step.attrs for step in call.work.epilogue.steps] == [
        (("alpha", 0.3),),
        (("beta", 2.0), ("threshold", 15.0)),
        (("max", 2), ("min", -1)),
        (("dtype", "int32"),),
    ]
    assert call.work.output.dtype == "int32"


def test_reshapes_stay_in_main():
    def before(emit, x):
        y = emit(op.reshape(conv(emit, x), (4, 36)))
        return emit(op.nn.relu(y))

    after = fused(before, IMAGE)
    assert shape_of_groups(after) == ["nn.conv2d", "nn.relu"]


def test_equal_groups_share_a_function():
    def before(emit, x):
        for seed in (1, 2, 3):
            x = emit(op.nn.relu(conv(emit, x, seed)))
        return x

    after = fused(before, IMAGE, rtol=1e-5)
    assert len({each.function for each in group_calls(after)}) == 1
    assert len(after.functions) == 2


def test_groups_share_though_one_reads_a_tensor_twice():
    """A function's operands are places, not tensors: x @ x and x @ y are the same function."""

    def before(emit, x, y):
        square, product = emit(op.matmul(x, x)), emit(op.matmul(x, y))
        own = emit(op.add(emit(op.matmul(square, y)), square))
        other = emit(op.add(emit(op.matmul(square, y)), product))
        return [square, product, own, other]

    calls = group_calls(fused(before, (4, 4), (4, 4), rtol=1e-5))
    assert [each.operators for each in calls] == [("matmul",), ("matmul",), ("matmul", "add"), ("matmul", "add")]
    assert calls[0].function == calls[1].function
    assert calls[2].function == calls[3].function


def test_a_product_of_a_transpose_with_itself():
    def before(emit, x, y):
        t, u = emit(op.permute_dims(x, [1, 0])), emit(op.permute_dims(y, [1, 0]))
        return [emit(op.matmul(t, t)), emit(op.matmul(t, u)), emit(op.matmul(t, x))]

    first, second, third = group_calls(fused(before, (4, 4), (4, 4)))
    assert first.function == second.function != third.function


def test_a_constant_that_is_weight_and_scalar_at_once():
    weight = relax.const(array((1, 1, 1, 1)))

    def before(emit, x):
        return emit(op.multiply(emit(op.nn.conv2d(x, weight)), weight))

    (call,) = group_calls(fused(before, (1, 1, 3, 3)))
    assert len(call.work.inputs) == 2


def test_what_no_family_describes_is_opaque():
    def before(emit, x):
        channels_last = emit(op.nn.avg_pool2d(x, (2, 2), layout="NHWC"))
        return emit(op.nn.layer_norm(channels_last, constant((7,)), constant((7,)), axes=[1]))

    assert [each.work.family for each in group_calls(fused(before, (1, 8, 6, 3), rtol=1e-5))] == ["opaque", "opaque"]


def test_a_convolution_that_sums_in_another_type_is_opaque():
    def before(emit, x):
        return emit(op.nn.conv2d(x, relax.const(np.ones((2, 4, 1, 1), "float16")), out_dtype="float32"))

    (call,) = group_calls(fuse(build_module(before, (IMAGE, "float16"))))
    assert call.work.family == "opaque"


@pytest.mark.parametrize("build", [op.sum, op.mean, op.max, op.min, op.prod])
@pytest.mark.parametrize(("axis", "keepdims"), [(None, False), ([1], True), ([-1, 0], False)])
def test_reductions(build, axis, keepdims):
    (call,) = group_calls(fused(lambda emit, x: emit(op.exp(emit(build(x, axis, keepdims)))), (3, 4, 5), rtol=1e-5))
    assert call.work.family == "reduce"
    assert call.work.attr("axes") == {None: (0, 1, 2), (1,): (1,), (-1, 0): (0, 2)}[axis and tuple(axis)]
    assert call.work.attr("keepdims") == keepdims


def test_workloads_survive_json():
    def before(emit, x):
        y = emit(op.clip(emit(op.add(conv(emit, x), scalar(float("inf")))), -1, 1))
        y = emit(op.nn.softmax(emit(op.maximum(y, scalar(-0.0)))))
        pooled = emit(op.nn.avg_pool2d(y, (2, 2), count_include_pad=True))
        return emit(op.reshape(pooled, (4, 25)))

    calls = group_calls(fuse(build_module(before, IMAGE)))
    assert [each.work.family for each in calls] == ["conv2d", "softmax", "pool2d"]
    for each in calls:
        again = Workload.from_json(each.work.to_json())
        assert again == each.work
        assert hash(again) == hash(each.work)
        assert again.to_json() == each.work.to_json()


def test_fusing_twice_gives_the_same_module():
    def before(emit, x, b):
        y = emit(op.nn.relu(emit(op.add(conv(emit, x), b))))
        return [emit(op.nn.softmax(y)), emit(op.tril(y)), conv(emit, y, 2)]

    scripts = {fuse(build_module(before, IMAGE, IMAGE)).script(show_meta=False) for _ in range(2)}
    assert len(scripts) == 1
