"""Convolutions and products of bytes against sums in 64 bits, on every level this machine runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from cpu_kernels import LEVELS, build, machines, template_named
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import Array, run_workload
from workloads import step, tensor, workload

from tilewright.schedules.cpu.integer_tile import STEP
from tilewright.schedules.template import choose_layouts
from tilewright.targets.database import load_target
from tilewright.targets.host import read_machine
from tilewright.targets.target import Target
from tilewright.workload import PointwiseProgram, Workload

_TARGETS = [*LEVELS, *(row for row in [load_target("host")] if row.features <= read_machine().flags)]

#: What a quantized layer does to its sums: scale, clip, round, narrow.
_REQUANTIZE = PointwiseProgram(
    1,
    (
        step("const", value=0.0078125),
        step("astype", 0, dtype="float32"),
        step("multiply", 2, 1),
        step("clip", 3, min=0.0, max=255.0),
        step("round", 4),
        step("astype", 5, dtype="uint8"),
    ),
)


def _bytes(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Array:
    info = np.iinfo(dtype)
    # The ends of the range are where saturating instructions differ from exact ones.
    values = rng.integers(info.min, info.max, shape, endpoint=True)
    return np.where(rng.random(shape) < 0.3, info.max, values).astype(dtype)


def _check(draw: Any, name: str, plain: Workload, target: Target, expected: Array, arrays: list[Array]) -> None:
    chosen = choose_layouts(plain, target)
    assert chosen is not None
    kernel = build(draw, template_named(name, chosen, target), chosen, target)
    (result,) = run_workload(kernel, chosen, arrays, target)
    if plain.epilogue:
        expected = np.rint(np.clip(expected.astype(np.float32) * np.float32(0.0078125), 0, 255)).astype(np.uint8)
    np.testing.assert_array_equal(result, expected)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_convolutions_are_exact(data: Any) -> None:
    draw = data.draw
    target = draw(st.one_of(machines(), st.sampled_from(_TARGETS)))
    depthwise = draw(st.booleans())
    inputs, outputs = draw(st.integers(2, 40)), draw(st.integers(1, 40))
    inputs, outputs = (inputs, inputs) if depthwise else (inputs, outputs)
    kernel, stride = draw(st.sampled_from([1, 2, 3, 5])), draw(st.integers(1, 2))
    pad, size = draw(st.integers(0, kernel // 2)), draw(st.integers(kernel, 19))
    narrow = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = _bytes(rng, "uint8", (2, inputs, size, size + 1))
    w = _bytes(rng, "int8", (outputs, 1 if depthwise else inputs, kernel, kernel))
    groups = inputs if depthwise else 1
    sums = torch.nn.functional.conv2d(
        torch.from_numpy(x.astype(np.float64)), torch.from_numpy(w.astype(np.float64)), None, stride, pad, 1, groups
    ).numpy().astype(np.int64)  # fmt: skip
    work = workload(
        "conv2d",
        [tensor(*x.shape, dtype="uint8"), tensor(*w.shape, dtype="int8")],
        tensor(*sums.shape, dtype="uint8" if narrow else "int32"),
        2,
        _REQUANTIZE if narrow else None,
        strides=(stride, stride),
        padding=(pad,) * 4,
        dilation=(1, 1),
        groups=groups,
        constant_weight=True,
    )
    _check(draw, "depthwise_conv2d" if depthwise else "integer_conv2d", work, target, sums, [x, w])


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_products_are_exact(data: Any) -> None:
    draw = data.draw
    target = draw(st.one_of(machines(), st.sampled_from(_TARGETS)))
    rows, depth, columns = draw(st.integers(1, 30)), STEP * draw(st.integers(1, 40)), draw(st.integers(1, 70))
    transposed, narrow = draw(st.booleans()), draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    a, b = _bytes(rng, "uint8", (2, rows, depth)), _bytes(rng, "int8", (depth, columns))
    sums = a.astype(np.int64) @ b.astype(np.int64)
    b = np.ascontiguousarray(b.T) if transposed else b
    work = workload(
        "matmul",
        [tensor(*a.shape, dtype="uint8"), tensor(*b.shape, dtype="int8")],
        tensor(*sums.shape, dtype="uint8" if narrow else "int32"),
        2,
        _REQUANTIZE if narrow else None,
        a_axes=(0, 1, 2),
        b_axes=(1, 0) if transposed else (0, 1),
        out_axes=(0, 1, 2),
        constant_weight=True,
    )
    _check(draw, "integer_matmul", work, target, sums, [a, b])
