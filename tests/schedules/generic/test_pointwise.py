from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import TARGETS, assembly, runnable_targets
from workloads import ADD, blocked, check_kernel, shapes, sizes, step, tensor, workload

from tilewright.schedules.template import build_kernel
from tilewright.targets.target import Target
from tilewright.workload import PointwiseProgram, TensorType

_TARGETS = runnable_targets()
_GELU = PointwiseProgram(2, (step("add", 0, 1), step("nn.gelu", 2)))


def _add(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a + b


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_broadcasting(data: st.DataObject) -> None:
    """Two operands of random rank, each dimension present, one, or missing in front."""
    shape = tuple(data.draw(shapes(4, least=0)))
    operands = []
    for _ in range(2):
        first = data.draw(st.integers(0, len(shape)))
        operands.append(tensor(*(data.draw(st.sampled_from([size, 1])) for size in shape[first:])))
    output = tensor(*torch.broadcast_shapes(*(each.shape for each in operands)))
    check_kernel(workload("pointwise", operands, output, 0, ADD), _add, data.draw(st.sampled_from(_TARGETS)))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_layouts(data: st.DataObject) -> None:
    """The output blocked or plain, operands blocked or plain, with and without padding, broadcast in any dimension."""
    target = data.draw(st.sampled_from(_TARGETS))
    shape = (data.draw(st.integers(1, 2)), data.draw(st.integers(1, 40)), *data.draw(st.tuples(sizes, sizes)))
    layouts = st.sampled_from([None, blocked(target)])
    output = TensorType(shape, "float32", data.draw(layouts))
    other = tuple(data.draw(st.sampled_from([size, 1])) for size in shape)
    operands = [TensorType(shape, "float32", data.draw(layouts)), TensorType(other, "float32", data.draw(layouts))]
    if data.draw(st.booleans()):
        operands[1] = tensor(shape[1], 1, 1)
    check_kernel(workload("pointwise", operands, output, 0, ADD), _add, target)


@pytest.mark.parametrize("target", _TARGETS, ids=lambda each: each.name)
def test_padding_is_zero_where_the_function_of_zero_is_not(target: Target) -> None:
    program = PointwiseProgram(1, (step("exp", 0),))
    operand = tensor(2, 5, 3, 4, layout=blocked(target))
    check_kernel(workload("pointwise", [operand], operand, 0, program), torch.exp, target)


@pytest.mark.parametrize("count", [1, 15, 16383, 16384, 100_003])
def test_one_long_run(count: int) -> None:
    """Around the sizes where threads share the work."""
    work = workload("pointwise", [tensor(count), tensor(count)], tensor(count), 0, _GELU)
    check_kernel(work, lambda a, b: torch.nn.functional.gelu(a + b), _TARGETS[-1])


@pytest.mark.parametrize("dtype", ["float64", "float16", "int8", "int32", "int64", "uint8"])
def test_types(dtype: str) -> None:
    program = PointwiseProgram(2, (step("maximum", 0, 1, dtype=dtype),))
    work = workload(
        "pointwise", [tensor(7, 37, dtype=dtype), tensor(37, dtype=dtype)], tensor(7, 37, dtype=dtype), 0, program
    )
    check_kernel(work, torch.maximum, _TARGETS[-1])


def test_mixed_types() -> None:
    """where(a < b, float16(a), float16(b)) over operands of two types."""
    program = PointwiseProgram(
        2,
        (
            step("astype", 1, dtype="float32"),
            step("less", 0, 2, dtype="bool"),
            step("where", 3, 0, 2),
            step("astype", 4, dtype="int64"),
        ),
    )
    inputs = [tensor(5, 33), tensor(5, 33, dtype="int64")]
    work = workload("pointwise", inputs, tensor(5, 33, dtype="int64"), 0, program)
    check_kernel(work, lambda a, b: torch.where(a < b, a, b.double()).long(), _TARGETS[-1])


def test_booleans() -> None:
    program = PointwiseProgram(2, (step("logical_and", 0, 1, dtype="bool"),))
    operands = [tensor(5, 33, dtype="bool"), tensor(33, dtype="bool")]
    check_kernel(workload("pointwise", operands, operands[0], 0, program), torch.logical_and, _TARGETS[-1])


def test_gelu_is_vectors_without_calls() -> None:
    work = workload("pointwise", [tensor(128, 3072), tensor(3072)], tensor(128, 3072), 0, _GELU)
    text = assembly(build_kernel(work, TARGETS[4]), TARGETS[4])
    body = text[text.index("__tvm_parallel_lambda:") :]
    body = body[: body.index("func_end")]
    assert body.count("vdivps") == 1
    assert "call" not in body
    assert "(%rsp" not in body
