"""Root-mean-square normalization against torch."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import runnable_targets
from workloads import ADD, check_kernel, shapes, tensor, workload

from tilewright.targets.target import Target

_TARGETS = runnable_targets()
_rms_norm = torch.nn.functional.rms_norm


@settings(max_examples=25, deadline=None)
@given(shapes(2, least=0, elements=1 << 10), shapes(2, elements=1 << 10), st.sampled_from(_TARGETS))
def test_last_axes(outer: list[int], inner: list[int], target: Target) -> None:
    """All axes, too."""
    shape, axes = [*outer, *inner], tuple(range(len(outer), len(outer) + len(inner)))
    work = workload("rms_norm", [tensor(*shape), tensor(*inner)], tensor(*shape), 2, axes=axes, epsilon=1e-3)
    check_kernel(work, lambda x, g: _rms_norm(x, inner, g, 1e-3), target, rtol=1e-5, atol=1e-5)


def test_epilogue() -> None:
    inputs = [tensor(3, 5, 7, 6), tensor(7, 6), tensor(5, 1, 6)]
    work = workload("rms_norm", inputs, tensor(3, 5, 7, 6), 2, ADD, axes=(2, 3), epsilon=1e-5)
    check_kernel(work, lambda x, g, c: _rms_norm(x, (7, 6), g, 1e-5) + c, _TARGETS[-1], atol=1e-5)
