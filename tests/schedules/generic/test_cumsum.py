"""Running sums against numpy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import run_workload
from workloads import ADD, sizes, tensor, workload

from tilewright.schedules.template import build_kernel
from tilewright.targets.host import host_target


@settings(max_examples=20, deadline=None)
@given(st.tuples(sizes, sizes, sizes), st.integers(0, 2), st.booleans(), st.sampled_from(["float64", "int32"]))
def test_cumsum(shape: tuple[int, int, int], axis: int, exclusive: bool, dtype: str) -> None:
    target = host_target()
    work = workload("cumsum", [tensor(*shape, dtype=dtype)], tensor(*shape, dtype=dtype),
                    axis=axis, exclusive=exclusive)  # fmt: skip
    x = np.random.default_rng(0).integers(-50, 50, shape).astype(dtype)
    kernel = build_kernel(work, target)
    assert kernel is not None
    (result,) = run_workload(kernel, work, [x], target)
    sums = np.cumsum(x, axis, dtype=dtype)
    np.testing.assert_array_equal(result, sums - x if exclusive else sums)


def test_a_sum_with_an_epilogue() -> None:
    target = host_target()
    work = workload("cumsum", [tensor(5, 7), tensor(5, 7)], tensor(5, 7), epilogue=ADD, axis=1, exclusive=False)
    x, y = (np.random.default_rng(seed).standard_normal((5, 7)).astype("float32") for seed in range(2))
    kernel = build_kernel(work, target)
    assert kernel is not None
    (result,) = run_workload(kernel, work, [x, y], target)
    np.testing.assert_allclose(result, np.cumsum(x, 1) + y, rtol=1e-5, atol=1e-6)
