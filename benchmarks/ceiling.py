"""The main templates beside the multiply-adds of one core: ``python -m benchmarks.ceiling --target x86-64-v3``.

Makes kernels for a level of x86 that this machine runs and measures them on one thread against the multiply-adds a
second that C code with the same vectors reaches in the same run. Counted is what a kernel
has to multiply: not the taps on padding, and of Winograd convolution the products alone, whose transforms come on top.
The exit code is 1 when a kernel stays under its bar.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import tvm  # noqa: E402
from kernel_runner import build  # noqa: E402 - the tests' helper
from workloads import step, tensor, workload  # noqa: E402 - the tests' helper

from tilewright.compiler.measure.ceiling import measure_ceiling  # noqa: E402
from tilewright.schedules.cpu.conv2d import multiply_adds  # noqa: E402
from tilewright.schedules.template import build_kernel, choose_layouts  # noqa: E402
from tilewright.targets.database import load_target  # noqa: E402
from tilewright.targets.target import Target  # noqa: E402
from tilewright.winograd import WinogradLayout  # noqa: E402
from tilewright.workload import PointwiseProgram, Workload  # noqa: E402

_LEVELS = ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4")
_BIAS_RELU = PointwiseProgram(2, (step("add", 0, 1), step("nn.relu", 2)))
_SECONDS = 0.3


@dataclass(frozen=True)
class Case:
    """One kernel.

    Attributes:
        bar: the least part of the ceiling; 0 where transforms that are not counted take their share.
    """

    name: str
    work: Workload
    accuracy: str = "exact"
    bar: float = 0.9


def convolution(channels: tuple[int, int], size: int, kernel: int, stride: int = 1) -> Workload:
    """Return a convolution of (input, output) channels with bias and relu, padded to keep its size."""
    out = (size + kernel // 2 * 2 - kernel) // stride + 1
    inputs = [
        tensor(1, channels[0], size, size),
        tensor(channels[1], channels[0], kernel, kernel),
        tensor(1, channels[1], 1, 1),
    ]
    attrs: dict[str, Any] = {
        "strides": (stride, stride),
        "padding": (kernel // 2,) * 4,
        "dilation": (1, 1),
        "groups": 1,
        "constant_weight": True,
    }
    return workload("conv2d", inputs, tensor(1, channels[1], out, out), 2, _BIAS_RELU, **attrs)


def product(rows: int, depth: int, columns: int) -> Workload:
    """Return a product with packed weights, bias and relu."""
    inputs = [tensor(rows, depth), tensor(depth, columns), tensor(columns)]
    axes = {"a_axes": (0, 1), "b_axes": (0, 1), "out_axes": (0, 1)}
    return workload("matmul", inputs, tensor(rows, columns), 2, _BIAS_RELU, **axes)


CASES = (
    Case("1x1 256 -> 64 at 56", convolution((256, 64), 56, 1)),
    Case("1x1 512 -> 128 at 28", convolution((512, 128), 28, 1)),
    Case("1x1 1024 -> 256 at 14", convolution((1024, 256), 14, 1)),
    Case("3x3 64 at 56", convolution((64, 64), 56, 3)),
    Case("3x3 256 at 14", convolution((256, 256), 14, 3)),
    Case("3x3 128 at 56, stride 2", convolution((128, 128), 56, 3, 2)),
    Case("product 128 x 768 x 768", product(128, 768, 768)),
    Case("product 128 x 3072 x 768", product(128, 3072, 768)),
    Case("product 197 x 768 x 3072", product(197, 768, 3072)),
    Case("Winograd 64 at 56", convolution((64, 64), 56, 3), "default", 0.0),
    Case("Winograd 512 at 28", convolution((512, 512), 28, 3), "default", 0.0),
)


def operations(work: Workload) -> float:
    """Return the floating-point operations of a workload's products, as its operands are stored."""
    if work.family == "matmul":
        return 2.0 * work.output.shape[0] * work.output.shape[1] * work.inputs[0].shape[1]
    layout = work.inputs[1].layout
    if not isinstance(layout, WinogradLayout):
        return 2.0 * multiply_adds(work)
    batch, out_channels, height, width = work.output.shape
    tiles = batch * -(-height // layout.tile) * -(-width // layout.tile)
    return 2.0 * tiles * (layout.tile + 2) ** 2 * work.inputs[0].shape[1] * out_channels


def measure(run: Callable[[], object]) -> float:
    """Return the least seconds of a run: the ceiling is the best of several trials, too."""
    least = math.inf
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - start)
    return least


def prepare(case: Case, target: Target) -> tuple[float, Callable[[], object]]:
    """Return a case's operations and its kernel on random operands."""
    work = choose_layouts(case.work, target, case.accuracy) or case.work
    function = build(build_kernel(work, target), target)["main"]
    random = np.random.default_rng(0)
    operands = [random.random(each.stored_shape, np.float32) for each in (*work.inputs, *work.outputs)]
    tensors = [tvm.runtime.tensor(each) for each in operands]
    return operations(work), lambda: function(*tensors)


def main() -> int:
    """Measure all cases; return 1 when one stays under its bar."""
    parser = argparse.ArgumentParser(description="Measure kernels beside the multiply-adds of one core.")
    parser.add_argument("--target", choices=_LEVELS, default="x86-64-v3", help="the level (default: %(default)s)")
    name = parser.parse_args().target
    os.environ["TVM_NUM_THREADS"] = "1"
    target = load_target(name)
    # One core's share of the facts: the kernels are not cut for threads that do not run here.
    target = replace(target, facts=replace(target.facts, cores=1))
    march = str(dict(target.tvm)["mcpu"])
    ready = [(case, *prepare(case, target)) for case in CASES]
    print(f"| {name} | GFLOP/s | of the ceiling |\n| --- | --- | --- |")
    missed = 0
    for case, flops, run in ready:
        seconds, ceiling = measure(run), measure_ceiling(1, march).flops
        part = flops / seconds / ceiling
        missed += part < case.bar
        verdict = " MISSED" if part < case.bar else ""
        print(f"| {case.name} | {flops / seconds / 1e9:.1f} | {part:.0%}{verdict} |", flush=True)
    print(f"\nCeiling: {ceiling / 1e9:.1f} GFLOP/s with {target.facts.vector_bits}-bit vectors.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
