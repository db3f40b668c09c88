"""Which operands a kernel may overwrite; that it then computes the same, every test of a kernel checks."""

from __future__ import annotations

import pytest
from workloads import step, tensor, workload

from tilewright.layout import Layout
from tilewright.schedules.in_place import in_place_operands
from tilewright.schedules.template import build_kernel
from tilewright.targets.database import load_target
from tilewright.workload import PointwiseProgram, TensorType, Workload

PRODUCT = PointwiseProgram(2, (step("multiply", 0, 1),))
BLOCKED = Layout("NCHW", "NCHW16c")
IMAGE, SCALE = tensor(1, 40, 14, 14, layout=BLOCKED), tensor(1, 40, 1, 1, layout=BLOCKED)


def spared(work: Workload) -> tuple[int, ...]:
    target = load_target("x86-64-v4")
    kernel = build_kernel(work, target)
    assert kernel is not None
    return in_place_operands(kernel, work)


@pytest.mark.parametrize(
    ("operands", "expected"),
    [
        ((IMAGE, SCALE), (0,)),
        ((SCALE, IMAGE), (1,)),
        ((tensor(7, 5), tensor(7, 5)), (0, 1)),
        ((tensor(7, 5), tensor(1, 5)), (0,)),
        ((tensor(1, 3, 5, 7), tensor(3, 5, 7)), (0,)),
    ],
)
def test_elementwise_kernels_overwrite_operands_of_the_results_shape(
    operands: tuple[TensorType, TensorType], expected: tuple[int, ...]
) -> None:
    """They read their operands through flat views."""
    output = max(operands, key=lambda each: (len(each.shape), each.shape))
    assert spared(workload("pointwise", operands, output, 0, PRODUCT)) == expected


def test_what_is_read_elsewhere_stays() -> None:
    """A softmax reads a row before it stores any of it; a transpose stores elsewhere than it reads."""
    assert spared(workload("softmax", [tensor(6, 9)], tensor(6, 9), axis=1)) == ()
    assert spared(workload("transpose", [tensor(9, 9)], tensor(9, 9), axes=(1, 0))) == ()
