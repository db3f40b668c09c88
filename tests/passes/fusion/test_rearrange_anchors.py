"""Tensors joined, cut and padded as anchors."""

from groups import fused, group_calls, shape_of_groups
from relax_modules import build_module
from tvm import relax
from tvm.relax import op

from tilewright.passes.fusion import fuse


def test_joined_tensors_go_by_place():
    def before(emit, x, y):
        return [emit(op.concat([x, y, x], axis=0)), emit(op.concat([x, y, y], axis=0))]

    first, second = group_calls(fuse(build_module(before, (2, 3), (2, 3))))
    assert len(first.work.inputs) == 3
    assert first.function == second.function


def test_indices_known_now_are_no_operands():
    def before(emit, x):
        return [emit(op.take(x, relax.const([0, 0, 1, 1]), 0, mode="fast")), emit(op.nn.pad(x, (0, 0, 1, 2)))]

    take, pad = group_calls(fuse(build_module(before, (2, 3))))
    assert [len(each.work.inputs) for each in (take, pad)] == [1, 1]
    assert take.work.attr("along0") == (4, 0, 1, 2, 0)
    assert pad.work.attr("along1") == (1, -1, 1, 1, 0, 3, 0, 1, 1, 0, 2, -1, 1, 1, 0)


def test_a_rearrangement_reads_through_one_that_nobody_else_reads():
    def before(emit, x, y):
        joined = emit(op.concat([x, y], axis=1))
        rows = emit(op.take(joined, relax.const([0, 0, 1, 1]), 0, mode="fast"))
        return emit(op.nn.relu(emit(op.take(rows, relax.const([4, 3, 0]), 1, mode="fast"))))

    (call,) = group_calls(fused(before, (2, 3), (2, 3)))
    assert call.operators == ("concat", "take", "take", "nn.relu")
    assert [each.shape for each in call.work.inputs] == [(2, 3), (2, 3)]


def test_a_rearrangement_that_something_else_reads_is_a_kernel():
    def before(emit, x):
        rows = emit(op.take(x, relax.const([0, 0, 1, 1]), 0, mode="fast"))
        return [emit(op.take(rows, relax.const([2, 0]), 1, mode="fast")), emit(op.nn.relu(rows))]

    assert shape_of_groups(fused(before, (2, 3))) == ["take", "take", "nn.relu"]


def test_different_constants_are_filled_one_after_the_other():
    def before(emit, x):
        inner = emit(op.nn.pad(x, (0, 0, 1, 2), pad_value=1.0))
        return emit(op.nn.pad(inner, (1, 1, 0, 0), pad_value=2.0))

    assert shape_of_groups(fused(before, (2, 3))) == ["nn.pad", "nn.pad"]
