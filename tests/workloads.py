"""Short ways to write workloads, random operands for them, and kernels run on them against a reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from hypothesis import strategies as st
from kernel_runner import Array, run_workload

from tilewright.layout import Layout
from tilewright.schedules.template import build_kernel
from tilewright.targets.target import Target
from tilewright.workload import Attribute, PointwiseProgram, PointwiseStep, TensorType, Workload, attributes

ADD = PointwiseProgram(2, (PointwiseStep("add", (0, 1), "float32"),))
"""Adds the second value to the first."""


def shapes(most: int, least: int = 1, elements: int = 1 << 20) -> st.SearchStrategy[list[int]]:
    """Shapes of ``least`` to ``most`` axes with at most so many elements: a test is no place for gigabytes."""
    return st.lists(sizes, min_size=least, max_size=most).filter(lambda shape: math.prod(shape) <= elements)


def tensor(*shape: int, layout: Layout | None = None, dtype: str = "float32") -> TensorType:
    """A tensor type."""
    return TensorType(shape, dtype, layout)


def step(op: str, *args: int, dtype: str = "float32", **attrs: Attribute) -> PointwiseStep:
    """A step of a pointwise program."""
    return PointwiseStep(op, args, dtype, attributes(attrs))


def blocked(target: Target) -> Layout:
    """NCHW with channels in blocks of one float32 vector."""
    return Layout("NCHW", f"NCHW{target.lanes()}c")


def workload(
    family: str,
    inputs: Sequence[TensorType],
    output: TensorType,
    arity: int = 1,
    epilogue: PointwiseProgram | None = None,
    **attrs: Attribute,
) -> Workload:
    """A workload of one output."""
    return Workload(family, tuple(inputs), (output,), attributes(attrs), arity, epilogue)


def random_array(operand: TensorType, seed: int = 0) -> Array:
    """Values of a few units of either sign."""
    generator = np.random.default_rng(seed)
    if operand.dtype == "bool":
        return generator.integers(0, 2, operand.shape).astype("bool")
    return (generator.standard_normal(operand.shape) * 3).astype(operand.dtype)


def check_kernel(
    work: Workload,
    reference: Callable[..., torch.Tensor],
    target: Target,
    rtol: float = 1e-5,
    atol: float = 1e-6,
) -> None:
    """Build the kernel, run it on random operands and compare it with a reference that computes in float64."""
    kernel = build_kernel(work, target)
    assert kernel is not None
    arrays = [random_array(each, seed) for seed, each in enumerate(work.inputs)]
    (result,) = run_workload(kernel, work, arrays, target)
    expected = reference(*[_tensor(each) for each in arrays]).numpy()
    assert result.shape == work.output.shape
    np.testing.assert_allclose(result, expected, rtol=rtol, atol=atol)


def _tensor(array: Array) -> torch.Tensor:
    whole = torch.from_numpy(np.array(array))
    return whole.double() if whole.is_floating_point() else whole


sizes = st.one_of(st.integers(1, 5), st.integers(6, 40), st.sampled_from([64, 100, 197]))
"""Sizes of a dimension: tiny ones, odd ones, whole vectors."""
