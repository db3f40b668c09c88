from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import TARGETS, assembly, runnable_targets
from workloads import blocked, check_kernel, sizes, workload

from tilewright.layout import Layout
from tilewright.schedules.template import build_kernel
from tilewright.workload import TensorType

_TARGETS = runnable_targets()


def _same(x: torch.Tensor) -> torch.Tensor:
    return x


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_to_and_from_blocks(data: st.DataObject) -> None:
    target = data.draw(st.sampled_from(_TARGETS))
    shape = (data.draw(st.integers(1, 2)), data.draw(st.integers(1, 40)), *data.draw(st.tuples(sizes, sizes)))
    dtype = data.draw(st.sampled_from(["float32", "float32", "int8", "int64", "float16"]))
    ways = st.sampled_from([None, blocked(target), Layout("NCHW", f"NHWC{target.lanes()}c"), Layout("NCHW", "NHWC")])
    source, destination = TensorType(shape, dtype, data.draw(ways)), TensorType(shape, dtype, data.draw(ways))
    check_kernel(workload("layout_transform", [source], destination), _same, target, rtol=0, atol=0)


def test_two_blocked_axes() -> None:
    shape, packed = (20, 19, 3, 3), Layout("OIHW", "OIHW8i16o")
    for source, destination in ((None, packed), (packed, None)):
        work = workload(
            "layout_transform", [TensorType(shape, "float32", source)], TensorType(shape, "float32", destination)
        )
        check_kernel(work, _same, _TARGETS[-1], rtol=0, atol=0)


def test_other_blocks_are_left_to_the_fallback() -> None:
    shape = (1, 32, 4, 4)
    source, destination = (TensorType(shape, "float32", Layout("NCHW", f"NCHW{block}c")) for block in (8, 16))
    assert build_kernel(workload("layout_transform", [source], destination), _TARGETS[-1]) is None


@pytest.mark.parametrize("backwards", [False, True])
def test_whole_blocks_are_vectors(backwards: bool) -> None:
    shape = (1, 64, 56, 56)
    plain, packed = TensorType(shape, "float32"), TensorType(shape, "float32", blocked(TARGETS[4]))
    source, destination = (packed, plain) if backwards else (plain, packed)
    text = assembly(build_kernel(workload("layout_transform", [source], destination), TARGETS[4]), TARGETS[4])
    body = text[text.index("__tvm_parallel_lambda:") :]
    body = body[: body.index("func_end")]
    assert "vmovss" not in body
    assert "(%rsp" not in body
