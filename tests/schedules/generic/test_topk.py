"""The first k elements and their places, against numpy's stable sort."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import run_workload
from workloads import tensor

from tilewright.schedules.template import build_kernel
from tilewright.targets.host import host_target
from tilewright.workload import Workload, attributes

TYPES = ("float32", "float64", "int8", "int64", "uint8", "uint64")


def check(shape: tuple[int, ...], axis: int, k: int, largest: bool, dtype: str, spread: int) -> None:
    target = host_target()
    out = (*shape[:axis], k, *shape[axis + 1 :])
    described = attributes({"axis": axis, "k": k, "largest": largest})
    outputs = (tensor(*out, dtype=dtype), tensor(*out, dtype="int64"))
    work = Workload("topk", (tensor(*shape, dtype=dtype),), outputs, described, 1)
    x = np.random.default_rng(0).integers(0, spread, shape).astype(dtype)
    kernel = build_kernel(work, target)
    assert kernel is not None
    values, places = run_workload(kernel, work, [x], target)
    ranks = np.argsort(-x.astype("int64") if largest else x, axis=axis, kind="stable")
    expected = np.take(ranks, np.arange(k), axis)
    np.testing.assert_array_equal(places, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(x, expected, axis))


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 90), st.integers(1, 3)),
    st.integers(0, 2),
    st.integers(0, 1000),
    st.booleans(),
    st.sampled_from(TYPES),
    st.sampled_from([2, 100]),
)
def test_topk(shape: tuple[int, int, int], axis: int, share: int, largest: bool, dtype: str, spread: int) -> None:
    check(shape, axis, 1 + share * (shape[axis] - 1) // 1000, largest, dtype, spread)


@pytest.mark.parametrize("k", [1, 32, 33, 300, 8400])
def test_long_runs(k: int) -> None:
    check((8400,), 0, k, True, "float32", 5000)
