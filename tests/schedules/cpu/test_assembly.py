"""The hot loops of the default tiles, read in assembly: whole vectors of multiply-adds, sums that stay in registers."""

from __future__ import annotations

import re

import pytest
from algorithm_choices import conv
from algorithm_choices import transposed as grown
from kernel_runner import assembly
from workloads import step, tensor, workload

from tilewright.schedules.template import build_kernel, choose_layouts
from tilewright.targets.database import load_target
from tilewright.workload import PointwiseProgram, Workload

BIAS_RELU = PointwiseProgram(2, (step("add", 0, 1), step("nn.relu", 2)))
_LABEL, _JUMP = re.compile(r"^(\.L\w+):"), re.compile(r"^\s+(?:j\w+|b\.\w+|cbn?z\s+\w+,)\s+(\.L\w+)")
_VECTOR_STORE = re.compile(r"^\s+vmov\w+\s+%[xyz]mm\d+,.*\(")
_MULTIPLY_ADD = re.compile(r"^\s+(?:vfn?m(?:add|sub)\w+|fmla)")


def convolution(channels: int, size: int, kernel: int, stride: int = 1) -> Workload:
    """A convolution to 256 channels with bias and relu."""
    out = (size + 2 * (kernel // 2) - kernel) // stride + 1
    inputs = [tensor(1, channels, size, size), tensor(256, channels, kernel, kernel), tensor(1, 256, 1, 1)]
    attrs = {
        "strides": (stride, stride), "padding": (kernel // 2,) * 4, "dilation": (1, 1), "groups": 1,
        "constant_weight": True,
    }  # fmt: skip
    return workload("conv2d", inputs, tensor(1, 256, out, out), 2, BIAS_RELU, **attrs)


def transposed(channels: int, size: int, kernel: int, stride: int) -> Workload:
    """A transposed convolution to 64 channels with bias and relu, cropped to a multiple of the data's size."""
    out = size * stride
    inputs = [tensor(1, channels, size, size), tensor(channels, 64, kernel, kernel), tensor(1, 64, 1, 1)]
    attrs = {"strides": (stride, stride), "padding": ((kernel - stride) // 2,) * 4, "dilation": (1, 1), "groups": 1}
    return workload("conv2d_transpose", inputs, tensor(1, 64, out, out), 2, BIAS_RELU, **attrs)


def product(*sizes: int, batch: tuple[int, ...] = (), transposed: bool = False) -> Workload:
    """A product of weights, or of a batch of activations."""
    rows, depth, columns = sizes
    axes = tuple(range(len(batch) + 2))
    swapped = (*axes[:-2], axes[-1], axes[-2]) if transposed else axes
    second = (columns, depth) if transposed else (depth, columns)
    inputs = [tensor(*batch, rows, depth), tensor(*batch, *second), tensor(columns)]
    attrs = {"a_axes": axes, "b_axes": swapped, "out_axes": axes}
    return workload("matmul", inputs, tensor(*batch, rows, columns), 2, BIAS_RELU, **attrs)


WORKLOADS = {
    "3x3": convolution(64, 56, 3),
    "3x3-small-image": convolution(256, 14, 3),
    "3x3-strided": convolution(128, 56, 3, 2),
    "1x1": convolution(256, 28, 1),
    "1x1-strided": convolution(256, 56, 1, 2),
    "transposed-2x2": transposed(256, 48, 2, 2),
    "transposed-4x4": transposed(128, 48, 4, 2),
    "weights": product(197, 768, 768),
    "weights-transposed": product(128, 384, 1536, transposed=True),
    "batch": product(197, 64, 64, batch=(12,)),
    "batch-transposed": product(128, 64, 128, batch=(2, 12), transposed=True),
}


def hot_loop(text: str, dense: bool = False) -> list[str]:
    """Return the innermost loop with the most multiply-adds; branches inside it may skip forward.

    ``dense`` leaves out loops that mostly do something else, such as Winograd's transforms, which keep a whole tile of
    36 elements at hand.
    """
    lines = text.splitlines()
    places = {match.group(1): at for at, line in enumerate(lines) if (match := _LABEL.match(line))}
    jumps = {at: places.get(match.group(1), at) for at, line in enumerate(lines) if (match := _JUMP.match(line))}
    back = [(start, at) for at, start in jumps.items() if start < at]
    inner = [(start, at) for start, at in back if not any(start <= first and last < at for first, last in back)]
    loops = [lines[start + 1 : at + 1] for start, at in inner]
    counted = [(sum(bool(_MULTIPLY_ADD.match(each)) for each in body), body) for body in loops]
    return max((each for each in counted if not dense or len(each[1]) < 3 * each[0]), key=lambda each: each[0])[1]


@pytest.mark.parametrize(("name", "register", "sums"), [("x86-64-v3", "ymm", 12), ("x86-64-v4", "zmm", 24)])
@pytest.mark.parametrize("work", WORKLOADS.values(), ids=WORKLOADS)
def test_hot_loops_multiply_in_registers(work: Workload, name: str, register: str, sums: int) -> None:
    target = load_target(name)
    stored = choose_layouts(work, target, "exact")
    kernel = build_kernel(stored or work, target)
    assert kernel is not None
    assert kernel.attrs["tilewright.template"] in ("direct_conv2d", "packed_matmul", "transposed_conv2d")
    loop = hot_loop(assembly(kernel, target))
    multiply_adds = [line for line in loop if _MULTIPLY_ADD.match(line)]
    # Several steps of a tile of nearly all the sums there is room for: images divide into tiles a little smaller.
    assert len(multiply_adds) >= 2 * sums
    assert all(line.count(f"%{register}") >= 2 for line in multiply_adds)
    assert not [line for line in loop if "(%rsp" in line or _VECTOR_STORE.match(line)]
    # What loads and counts is less than what multiplies.
    assert len(loop) < 2 * len(multiply_adds)


@pytest.mark.parametrize("name", ["x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize(
    "work",
    [
        conv(96, 96, 112, 3, groups=96),
        grown(64, 64, 56, 4, 2, 64),
        convolution(64, 56, 3),
        convolution(256, 14, 3),
        conv(64, 3, 112, 3),
        grown(64, 3, 64, 4, 2),
    ],
    ids=["depthwise", "transposed-depthwise", "winograd", "winograd-small-image", "narrow", "transposed-narrow"],
)
def test_other_hot_loops_spill_no_vectors(work: Workload, name: str) -> None:
    target = load_target(name)
    stored = choose_layouts(work, target)
    assert stored is not None
    kernel = build_kernel(stored, target)
    assert kernel is not None
    loop = hot_loop(assembly(kernel, target), dense=kernel.attrs["tilewright.template"] == "winograd_conv2d")
    assert sum(bool(_MULTIPLY_ADD.match(line)) for line in loop) >= 8
    assert not [line for line in loop if _VECTOR_STORE.match(line) and "(%rsp" in line]


@pytest.mark.parametrize(
    "name", ["3x3", "3x3-small-image", "1x1", "weights", "weights-transposed", "batch", "batch-transposed"]
)
def test_hot_loops_of_arm_multiply_by_lane(name: str) -> None:
    target = load_target("cortex-a72")
    stored = choose_layouts(WORKLOADS[name], target, "exact")
    kernel = build_kernel(stored or WORKLOADS[name], target)
    assert kernel is not None
    loop = [line for line in hot_loop(assembly(kernel, target)) if not _LABEL.match(line)]
    multiply_adds = [line for line in loop if _MULTIPLY_ADD.match(line)]
    assert len(multiply_adds) >= 64
    assert all(re.search(r"v\d+\.4s, v\d+\.4s, v\d+\.s\[\d\]", line) for line in multiply_adds)
    assert not [line for line in loop if "[sp" in line or re.match(r"\s+st", line)]
    # The optimum is one instruction for four multiply-adds.
    assert len(loop) < 1.35 * len(multiply_adds)
