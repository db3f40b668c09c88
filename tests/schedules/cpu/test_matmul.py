"""Matrix products against numpy in float64: any sizes, transposes, broadcasting batches, epilogues, machines, knobs."""

from __future__ import annotations

from typing import Any

import numpy as np
from cpu_kernels import Shape, build, machines, orders, stored, template_named
from epilogues import assert_kernel_computes, epilogues
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import Array

from tilewright.targets.target import Target
from tilewright.workload import TensorType, Workload, attributes

RULES = settings(max_examples=30, deadline=None, derandomize=True)
SIZES = st.one_of(st.integers(1, 9), st.integers(1, 70), st.sampled_from((16, 32, 48, 64)))


def reference(work: Workload) -> Any:
    def compute(a: Array, b: Array) -> Array:
        return a.transpose(work.attr("a_axes")) @ b.transpose(work.attr("b_axes"))

    return compute


def check(draw: Any, target: Target, a: Shape, b: Shape, axes: tuple[Shape, Shape, Shape]) -> None:
    """Build and run a product of logical operands ``a`` and ``b`` that are stored transposed by ``axes``.

    The epilogue sees the result before it is transposed.
    """
    a_axes, b_axes, out_axes = axes
    result = (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])
    epilogue = draw(epilogues(result))
    work = Workload(
        "matmul",
        (TensorType(stored(a, a_axes), "float32"), TensorType(stored(b, b_axes), "float32"), *epilogue.operands),
        (TensorType(tuple(result[axis] for axis in out_axes), "float32"),),
        attributes({"a_axes": a_axes, "b_axes": b_axes, "out_axes": out_axes}),
        2,
        epilogue.program,
    )
    template = template_named("packed_matmul", work, target)
    assert template.layouts is not None
    if len(b) == 2:
        work = template.layouts(work, target)
    assert_kernel_computes(build(draw, template, work, target), work, target, reference(work), out_axes=out_axes)


@RULES
@given(st.data(), machines(), SIZES, SIZES, SIZES, st.sampled_from(((), (1,), (3,), (2, 3))))
def test_packed_weights(data, target, rows, depth, columns, batch):
    """One matrix of weights, stored [K, N] or [N, K]; a vector by a matrix when there is one row."""
    a = (*batch, rows, depth)
    b_axes = data.draw(st.sampled_from(((0, 1), (1, 0))))
    axes = (data.draw(orders(len(a))), b_axes, data.draw(orders(len(a))))
    check(data.draw, target, a, (depth, columns), axes)


@RULES
@given(st.data(), machines(), SIZES, st.integers(1, 40), SIZES, st.sampled_from(((1,), (3,), (2, 3), (1, 4))))
def test_batches(data, target, rows, depth, columns, batch):
    """Both operands are activations; either may lack batch dimensions or have ones that broadcast."""
    a_batch = tuple(data.draw(st.sampled_from((1, size))) for size in batch)[data.draw(st.integers(0, len(batch))) :]
    a, b = (*a_batch, rows, depth), (*batch, depth, columns)
    axes = (data.draw(orders(len(a))), data.draw(orders(len(b))), data.draw(orders(len(b))))
    check(data.draw, target, a, b, axes)
