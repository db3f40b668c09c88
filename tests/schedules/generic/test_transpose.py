from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import TARGETS, assembly, runnable_targets
from workloads import ADD, check_kernel, shapes, tensor, workload

from tilewright.schedules.template import build_kernel

_TARGETS = runnable_targets()


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_permutation(data: st.DataObject) -> None:
    shape = data.draw(shapes(4))
    axes = data.draw(st.permutations(range(len(shape))))
    dtype = data.draw(st.sampled_from(["float32", "float64", "int32", "int64", "int8", "float16", "bool"]))
    output = tensor(*(shape[axis] for axis in axes), dtype=dtype)
    work = workload("transpose", [tensor(*shape, dtype=dtype)], output, axes=tuple(axes))
    check_kernel(work, lambda x: x.permute(axes), data.draw(st.sampled_from(_TARGETS)), rtol=0, atol=0)


@pytest.mark.parametrize("axes", [(0, 2, 1), (1, 0, 2), (2, 1, 0)])
def test_epilogue(axes: tuple[int, ...]) -> None:
    shape = (5, 19, 33)
    output = tuple(shape[axis] for axis in axes)
    for other in (output, output[-1:], (output[1], 1)):
        work = workload("transpose", [tensor(*shape), tensor(*other)], tensor(*output), epilogue=ADD, axes=axes)
        check_kernel(work, lambda x, b: x.permute(axes) + b, _TARGETS[-1])


def test_whole_tiles_are_vectors() -> None:
    """Sixteen loads, sixteen stores and shuffles between; no element moves by itself."""
    work = workload("transpose", [tensor(768, 768)], tensor(768, 768), axes=(1, 0))
    text = assembly(build_kernel(work, TARGETS[4]), TARGETS[4])
    body = text[text.index("__tvm_parallel_lambda:") :]
    body = body[: body.index("func_end")]
    assert "vmovss" not in body
    assert "(%rsp" not in body
    assert body.count("vperm") + body.count("vunpck") + body.count("vshuf") >= 32
