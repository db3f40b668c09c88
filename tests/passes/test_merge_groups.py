"""Grouped convolutions and operands of channels, made ready for channel blocks."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper
from onnx_models import model_of, normal
from relax_modules import array, assert_rewritten, assert_unchanged, constant
from tvm import relax
from tvm.relax import op

from tilewright.compiler.api import CompileRequest, compile_model
from tilewright.compiler.pipeline import PhaseEvent
from tilewright.passes.channel_operands import FullRankChannels
from tilewright.passes.merge_groups import MergeGroups
from tilewright.runtime import load


def block_diagonal(shape, groups, merged):
    weight = array(shape)
    rows = shape[0] // groups
    wide = np.zeros((shape[0], merged, *shape[1:]), weight.dtype)
    for row in range(shape[0]):
        wide[row, row // rows % merged] = weight[row]
    return relax.const(wide.reshape(shape[0], merged * shape[1], *shape[2:]))


@pytest.mark.parametrize(
    ("channels", "out", "groups", "left"),
    [(16, 16, 8, 4), (16, 32, 8, 4), (12, 24, 6, 3), (6, 9, 3, 1), (20, 12, 4, 1), (4, 8, 4, 1)],
)
def test_groups_merge_until_they_are_whole_vectors(channels, out, groups, left):
    """A vector holds four."""
    shape = (out, channels // groups, 3, 3)

    def before(emit, x):
        return op.nn.conv2d(x, constant(shape), (1, 2), (1, 0, 2, 1), (2, 1), groups)

    def expected(emit, x):
        wide = block_diagonal(shape, groups, groups // left)
        return emit(op.nn.conv2d(x, wide, (1, 2), (1, 0, 2, 1), (2, 1), left))

    assert_rewritten(MergeGroups(4), before, expected, (2, channels, 7, 6))


def test_groups_of_transposed_convolutions_merge():
    shape = (16, 3, 3, 3)

    def before(emit, x):
        return op.nn.conv2d_transpose(x, constant(shape), (2, 3), (1, 0, 0, 1), (1, 0), (1, 1), 8)

    def expected(emit, x):
        return emit(op.nn.conv2d_transpose(x, block_diagonal(shape, 8, 4), (2, 3), (1, 0, 0, 1), (1, 0), (1, 1), 2))

    assert_rewritten(MergeGroups(4), before, expected, (1, 16, 5, 4))


@pytest.mark.parametrize(("channels", "groups"), [(8, 1), (8, 8), (8, 2)])
def test_other_convolutions_stay(channels, groups):
    def before(emit, x):
        return op.nn.conv2d(x, constant((channels, channels // groups, 3, 3)), groups=groups)

    assert_unchanged(MergeGroups(4), before, (1, channels, 5, 5))


def test_operands_of_channels_get_the_image_s_rank():
    def before(emit, x, y):
        return op.multiply(emit(op.add(x, constant((6, 1, 1)))), y)

    def expected(emit, x, y):
        sum_ = emit(op.add(x, relax.const(array((6, 1, 1)).reshape(1, 6, 1, 1))))
        return emit(op.multiply(sum_, emit(op.reshape(y, (1, 6, 5, 1)))))

    assert_rewritten(FullRankChannels(4), before, expected, (2, 6, 5, 5), (6, 5, 1))


def test_operands_of_whole_blocks_stay():
    assert_unchanged(FullRankChannels(4), lambda emit, x: op.add(x, constant((8, 1, 1))), (2, 8, 5, 5))


def test_a_compiled_model_leaves_nothing_to_the_generic_schedule(tmp_path: Path) -> None:
    x, weight, scale = normal(1, 24, 9, 7), normal(60, 8, 3, 3, seed=1), normal(60, 1, 1, seed=2)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], group=3, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Mul", ["r", "s"], ["y"]),
    ]
    model = model_of(nodes, {"x": x}, {"w": weight, "s": scale}).SerializeToString()
    (tmp_path / "model.onnx").write_bytes(model)
    templates = []

    def note(event: PhaseEvent) -> None:
        if event.name == "schedule":
            attrs = [dict(function.attrs or {}) for _, function in event.module.functions_items()]
            templates.extend(str(each["tilewright.template"]) for each in attrs if "tilewright.template" in each)

    artifact = compile_model(CompileRequest(tmp_path / "model.onnx", target="x86-64-v3"), note)
    assert sorted(set(templates) - {"layout_transform"}) in (["direct_conv2d"], ["winograd_conv2d"])
    artifact.save(tmp_path / "model.so")
    (expected,) = onnxruntime.InferenceSession(model).run(None, {"x": x})
    np.testing.assert_allclose(load(tmp_path / "model.so")(x)[0], expected, rtol=1e-4, atol=1e-5)
