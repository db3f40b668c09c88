from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import TARGETS, assembly, run_workload, runnable_targets
from workloads import ADD, check_kernel, shapes, tensor, workload

from tilewright.schedules.template import build_kernel
from tilewright.targets.target import Target

_TARGETS = runnable_targets()


@settings(max_examples=25, deadline=None)
@given(shapes(4), st.data())
def test_any_axis(shape: list[int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    work = workload("softmax", [tensor(*shape)], tensor(*shape), axis=axis)
    check_kernel(work, lambda x: torch.softmax(x, axis), data.draw(st.sampled_from(_TARGETS)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_epilogue(axis: int) -> None:
    inputs = [tensor(5, 19, 17), tensor(19, 1)]
    work = workload("softmax", inputs, tensor(5, 19, 17), epilogue=ADD, axis=axis)
    check_kernel(work, lambda x, b: torch.softmax(x, axis) + b, _TARGETS[-1])


@pytest.mark.parametrize("target", _TARGETS, ids=lambda each: each.name)
def test_extremes(target: Target) -> None:
    """Large values do not overflow, masked ones become exactly zero, a row of NaN or of -inf gives NaN."""
    values = np.random.default_rng(0).standard_normal((6, 53)).astype("float32")
    values[0] *= 1e30
    values[1, 3:] = -np.inf
    values[2, ::2] = -1e30
    values[3] = -np.inf
    values[4, 50] = np.nan
    values[5] = 3e38
    work = workload("softmax", [tensor(6, 53)], tensor(6, 53), axis=1)
    (result,) = run_workload(build_kernel(work, target), work, [values], target)
    np.testing.assert_allclose(result, torch.softmax(torch.from_numpy(values), 1).numpy(), rtol=2e-6, atol=1e-37)
    assert np.all(result[2, ::2] == 0)


@pytest.mark.parametrize("dtype", ["float64", "int32"])
def test_other_element_types_are_left_to_the_fallback(dtype: str) -> None:
    other = tensor(4, 8, dtype=dtype)
    assert build_kernel(workload("softmax", [other], other, axis=1), _TARGETS[-1]) is None


def test_rows_stay_in_registers_and_call_nothing() -> None:
    work = workload("softmax", [tensor(1536, 128)], tensor(1536, 128), axis=1)
    text = assembly(build_kernel(work, TARGETS[4]), TARGETS[4])
    body = text[text.index("__tvm_parallel_lambda:") :]
    body = body[: body.index("func_end")]
    assert "call" not in body
    assert "(%rsp" not in body
    assert body.count("vmaxss") == 1
