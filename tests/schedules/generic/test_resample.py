"""Resized images against torch in float64, planar and in channel blocks, and whole models against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from epilogues import epilogues, evaluate, exact_array
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import TARGETS, Array, host_level, run_workload
from onnx import helper
from onnx_models import model_of, normal

import tilewright
from tilewright.runtime import load
from tilewright.schedules.generic.pool2d import layouts
from tilewright.schedules.template import NotApplicable, build_kernel
from tilewright.workload import TensorType, Workload

TARGET = TARGETS[min(host_level(), 4)]


def tables(draw: st.DrawFn, size: int) -> tuple[Array, Array]:
    """Draw positions and weights of one axis."""
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 11)))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    return generator.integers(0, size, shape).astype("int32"), (generator.integers(-4, 5, shape) / 4).astype("float32")


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.data(), st.integers(1, 2), st.integers(1, 37), st.integers(1, 7), st.integers(1, 9), st.booleans())
def test_any_taps(data, batch, channels, height, width, blocked):
    (rows, row_weights), (columns, column_weights) = tables(data.draw, height), tables(data.draw, width)
    shape = (batch, channels, rows.shape[1], columns.shape[1])
    epilogue = data.draw(epilogues(shape))
    known = [rows, row_weights, columns, column_weights]
    inputs = [TensorType((batch, channels, height, width), "float32")]
    inputs += [TensorType(each.shape, str(each.dtype)) for each in known]
    output = TensorType(shape, "float32")
    work = Workload("resample", (*inputs, *epilogue.operands), (output,), (), 5, epilogue.program)
    if blocked:
        try:
            work = layouts(work, TARGET)
        except NotApplicable:
            return
    arrays = [exact_array(inputs[0].shape, 1), *known]
    arrays += [exact_array(each.shape, seed) for seed, each in enumerate(epilogue.operands)]
    x = arrays[0].astype("float64")
    taken = x[:, :, rows][..., columns]  # [n, c, row tap, row, column tap, column]
    resized = np.einsum("ncsotp,so,tp->ncop", taken, row_weights, column_weights)
    expected, magnitude = evaluate(epilogue.program, resized, arrays[5:])
    kernel = build_kernel(work, TARGET)
    assert kernel is not None
    (result,) = run_workload(kernel, work, arrays, TARGET)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6 * max(1.0, magnitude))


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("channels", [3, 20])
def test_a_compiled_model_resizes_in_one_kernel(mode: str, channels: int, tmp_path: Path) -> None:
    x, weight = normal(1, channels, 6, 9), normal(channels, channels, 1, 1, seed=1)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"]),
        helper.make_node("Resize", ["h", "", "s"], ["r"], mode=mode),
        helper.make_node("Relu", ["r"], ["y"]),
    ]
    model = model_of(nodes, {"x": x}, {"w": weight, "s": np.array([1, 1, 2, 1.5], np.float32)}).SerializeToString()
    (tmp_path / "model.onnx").write_bytes(model)
    tilewright.compile(tmp_path / "model.onnx").save(tmp_path / "model.so")
    loaded = load(tmp_path / "model.so")
    (expected,) = onnxruntime.InferenceSession(model).run(None, {"x": x})
    np.testing.assert_allclose(loaded(x)[0], expected, rtol=1e-4, atol=1e-5)
    names = " ".join(step.name for step in loaded.steps)
    assert names.count("take") + names.count("resample") == (2 if mode == "nearest" else 1)
