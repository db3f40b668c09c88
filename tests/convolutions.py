"""Convolutions of any geometry for tests, and what torch makes of them."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from kernel_runner import Array

from tilewright.workload import TensorType, Workload


@st.composite
def axes(draw: Any, largest: int) -> tuple[int, int, int, int, int, int]:
    """Draw one spatial axis: (size, kernel, stride, dilation, before, after); the output has at least one pixel."""
    kernel = draw(st.sampled_from((1, 1, 2, 3, 3, 5, 7)))
    dilation = draw(st.integers(1, 3)) if kernel > 1 else 1
    reach = (kernel - 1) * dilation + 1
    before, after = (draw(st.integers(0, kernel + 1)) for _ in range(2))
    size = draw(st.integers(max(1, reach - before - after), max(largest, reach)))
    return size, kernel, draw(st.integers(1, 3)), dilation, before, after


def convolution(
    batch: int, channels: tuple[int, int, int], rows: tuple[int, ...], columns: tuple[int, ...]
) -> tuple[tuple[TensorType, TensorType], TensorType, dict[str, Any]]:
    """Return operand types, output type and attributes; channels are (input, output, groups)."""
    (height, kh, sh, dh, top, bottom), (width, kw, sw, dw, left, right) = rows, columns
    in_channels, out_channels, groups = channels
    data = TensorType((batch, in_channels, height, width), "float32")
    weight = TensorType((out_channels, in_channels // groups, kh, kw), "float32")
    out_height = (height + top + bottom - (kh - 1) * dh - 1) // sh + 1
    out_width = (width + left + right - (kw - 1) * dw - 1) // sw + 1
    attrs = {
        "strides": (sh, sw),
        "padding": (top, left, bottom, right),
        "dilation": (dh, dw),
        "groups": groups,
        "constant_weight": False,
    }
    return (data, weight), TensorType((batch, out_channels, out_height, out_width), "float32"), attrs


def reference(work: Workload) -> Any:
    """Return the convolution of a workload in torch."""

    def compute(data: Array, weight: Array) -> Array:
        top, left, bottom, right = work.attr("padding")
        padded = torch.nn.functional.pad(torch.from_numpy(data), (left, right, top, bottom))
        result = torch.nn.functional.conv2d(
            padded,
            torch.from_numpy(weight),
            stride=work.attr("strides"),
            dilation=work.attr("dilation"),
            groups=work.attr("groups"),
        )
        return result.numpy()

    return compute
