from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import run_workload, runnable_targets
from workloads import ADD, blocked, check_kernel, shapes, sizes, tensor, workload

from tilewright.schedules.template import build_kernel
from tilewright.targets.target import Target
from tilewright.workload import TensorType

_TARGETS = runnable_targets()
_Reference = Callable[[torch.Tensor, tuple[int, ...], bool], torch.Tensor]
_KINDS: dict[str, _Reference] = {
    "sum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "mean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "max": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "min": lambda x, axes, keep: x.amin(axes, keepdim=keep),
}


def _reduced(shape: tuple[int, ...], axes: tuple[int, ...], keep: bool) -> tuple[int, ...]:
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape) if keep or axis not in axes)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_axes(data: st.DataObject) -> None:
    shape = tuple(data.draw(shapes(4)))
    axes = tuple(sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    kind, keep = data.draw(st.sampled_from(sorted(_KINDS))), data.draw(st.booleans())
    output = _reduced(shape, axes, keep)
    work = workload("reduce", [tensor(*shape)], tensor(*output), kind=kind, axes=axes, keepdims=keep)
    size = float(np.prod([shape[axis] for axis in axes]))
    target = data.draw(st.sampled_from(_TARGETS))
    check_kernel(work, lambda x: _KINDS[kind](x, axes, keep), target, atol=1e-6 * (size if kind == "sum" else 1))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_blocked(data: st.DataObject) -> None:
    """Over the image, and over channels where no padding stands between; the result blocked or plain."""
    target = data.draw(st.sampled_from(_TARGETS))
    lanes, layout = target.lanes(), blocked(target)
    over_image = data.draw(st.booleans())
    channels = data.draw(st.integers(1, 40)) if over_image else lanes * data.draw(st.integers(1, 3))
    axes = data.draw(st.sampled_from([(2,), (3,), (2, 3)])) if over_image else (1,)
    keep = data.draw(st.booleans()) if channels % lanes == 0 else True
    shape = (2, channels, *data.draw(st.tuples(sizes, sizes)))
    stored = layout if keep and over_image else None
    output = TensorType(_reduced(shape, axes, keep), "float32", stored)
    kind = data.draw(st.sampled_from(sorted(_KINDS)))
    work = workload("reduce", [tensor(*shape, layout=layout)], output, kind=kind, axes=axes, keepdims=keep)
    check_kernel(work, lambda x: _KINDS[kind](x, axes, keep), target, atol=1e-3)


@pytest.mark.parametrize("target", _TARGETS, ids=lambda each: each.name)
def test_global_average_with_epilogue(target: Target) -> None:
    layout = blocked(target)
    inputs = [tensor(2, 20, 7, 7, layout=layout), tensor(1, 20, 1, 1, layout=layout)]
    output = tensor(2, 20, 1, 1, layout=layout)
    work = workload("reduce", inputs, output, epilogue=ADD, kind="mean", axes=(2, 3), keepdims=True)
    check_kernel(work, lambda x, b: x.mean((2, 3), keepdim=True) + b, target)


def test_epilogue_of_merged_axes() -> None:
    inputs = [tensor(3, 4, 5, 6), tensor(4, 1)]
    work = workload("reduce", inputs, tensor(3, 4, 5), epilogue=ADD, kind="max", axes=(3,), keepdims=False)
    check_kernel(work, lambda x, b: x.amax(3) + b, _TARGETS[-1])


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float64"])
@pytest.mark.parametrize("kind", ["sum", "prod", "max", "min"])
def test_types(dtype: str, kind: str) -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(1, 4, (7, 37)).astype(dtype)
    for axis in (0, 1):
        work = workload(
            "reduce", [tensor(7, 37, dtype=dtype)], tensor(values.shape[1 - axis], dtype=dtype),
            kind=kind, axes=(axis,), keepdims=False,
        )  # fmt: skip
        (result,) = run_workload(build_kernel(work, _TARGETS[-1]), work, [values], _TARGETS[-1])
        np.testing.assert_array_equal(result, getattr(np, kind)(values, axis=axis).astype(dtype))


def test_long_sums_keep_their_digits() -> None:
    """A million numbers near one: a single accumulator would be off by thousands of ulp."""
    count = 1 << 20
    values = np.random.default_rng(0).uniform(0.5, 1.5, count).astype("float32")
    work = workload("reduce", [tensor(count)], tensor(1), kind="sum", axes=(0,), keepdims=True)
    (result,) = run_workload(build_kernel(work, _TARGETS[-1]), work, [values], _TARGETS[-1])
    exact = values.astype("float64").sum()
    assert abs(result[0] - exact) < 1e-6 * exact
