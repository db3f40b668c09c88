from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import run_workload, runnable_targets
from workloads import ADD, check_kernel, shapes, tensor, workload

from tilewright.schedules.template import build_kernel
from tilewright.targets.target import Target

_TARGETS = runnable_targets()


@settings(max_examples=25, deadline=None)
@given(shapes(3, elements=1 << 10), shapes(2, elements=1 << 10), st.sampled_from(_TARGETS))
def test_last_axes(outer: list[int], inner: list[int], target: Target) -> None:
    """A large epsilon keeps rows of one or two elements from amplifying the rounding."""
    shape, axes = [*outer, *inner], tuple(range(len(outer), len(outer) + len(inner)))
    inputs = [tensor(*shape), tensor(*inner), tensor(*inner)]
    work = workload("layer_norm", inputs, tensor(*shape), 3, axes=axes, epsilon=0.1)
    check_kernel(
        work, lambda x, g, b: torch.nn.functional.layer_norm(x, inner, g, b, 0.1), target, rtol=1e-5, atol=1e-5
    )


def test_epilogue() -> None:
    inputs = [tensor(3, 5, 7, 6), tensor(7, 6), tensor(7, 6), tensor(5, 1, 6)]
    work = workload("layer_norm", inputs, tensor(3, 5, 7, 6), 3, ADD, axes=(2, 3), epsilon=1e-5)
    check_kernel(
        work, lambda x, g, b, c: torch.nn.functional.layer_norm(x, (7, 6), g, b, 1e-5) + c, _TARGETS[-1], atol=1e-5
    )


@pytest.mark.parametrize("count", [768, 10_000, 3])
def test_a_large_mean_does_not_spoil_the_variance(count: int) -> None:
    """The difference of mean squares would have lost every digit here."""
    values = (np.random.default_rng(0).standard_normal((4, count)) + 4096).astype("float32")
    ones, zeros = np.ones(count, "float32"), np.zeros(count, "float32")
    work = workload(
        "layer_norm", [tensor(4, count), tensor(count), tensor(count)], tensor(4, count), 3, axes=(1,), epsilon=1e-5
    )
    (result,) = run_workload(build_kernel(work, _TARGETS[-1]), work, [values, ones, zeros], _TARGETS[-1])
    exact = torch.nn.functional.layer_norm(torch.from_numpy(values).double(), (count,), eps=1e-5).numpy()
    # The mean is rounded to float32: 4096 * 2^-24 of an error on values of about 1, a few roundings of it.
    assert np.abs(result - exact).max() < 8 * math.ldexp(4096, -24)
