"""Tensors joined, cut and padded as anchors."""

from groups import group_calls
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
