from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import runnable_targets
from workloads import ADD, blocked, check_kernel, tensor, workload

from tilewright.schedules.template import choose_layouts
from tilewright.targets.target import Target
from tilewright.workload import PointwiseProgram, TensorType

_TARGETS = runnable_targets()
_nn = torch.nn.functional


def _reference(x: torch.Tensor, out: tuple[int, int], attrs: dict[str, Any]) -> torch.Tensor:
    """Pool a tensor padded by as much as the output needs."""
    window, strides, dilation = attrs["window"], attrs["strides"], attrs["dilation"]
    top, left, bottom, right = attrs["padding"]
    padding = (left, right + strides[1], top, bottom + strides[0])
    if attrs["kind"] == "max":
        return _nn.max_pool2d(_nn.pad(x, padding, value=-torch.inf), window, strides, 0, dilation)[
            ..., : out[0], : out[1]
        ]
    channels = x.shape[1]
    kernel = torch.ones(channels, 1, *window, dtype=x.dtype)
    total = _nn.conv2d(_nn.pad(x, padding), kernel, stride=strides, dilation=dilation, groups=channels)
    count = _nn.conv2d(_nn.pad(torch.ones_like(x), padding), kernel, stride=strides, dilation=dilation, groups=channels)
    divisor = torch.full_like(count, window[0] * window[1]) if attrs["count_include_pad"] else count
    return (total / divisor)[..., : out[0], : out[1]]


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_pools(data: st.DataObject) -> None:
    """Windows, strides, dilation and padding of all kinds; the output cut off or reaching past the data's end."""
    pair = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731
    target = data.draw(st.sampled_from(_TARGETS))
    window, strides, dilation = data.draw(pair(1, 4)), data.draw(pair(1, 3)), data.draw(pair(1, 2))
    reach = [(size - 1) * step + 1 for size, step in zip(window, dilation, strict=True)]
    before, after = ([data.draw(st.integers(0, size // 2)) for size in window] for _ in range(2))
    spatial = [data.draw(st.integers(max(size - low, 1), 20)) for size, low in zip(reach, before, strict=True)]
    ceil = data.draw(st.booleans())
    out = []
    for axis, size in enumerate(spatial):
        span = max(0, size + before[axis] + after[axis] - reach[axis])
        count = span // strides[axis] + 1
        if ceil and span % strides[axis] and count * strides[axis] < size + before[axis]:
            count += 1
        out.append(count)
    channels = data.draw(st.integers(1, 20))
    layout = data.draw(st.sampled_from([None, blocked(target)]))
    attrs: dict[str, Any] = {
        "kind": data.draw(st.sampled_from(["max", "avg"])), "window": window, "strides": strides, "dilation": dilation,
        "padding": (*before, *after), "count_include_pad": data.draw(st.booleans()),
    }  # fmt: skip
    work = workload(
        "pool2d", [tensor(2, channels, *spatial, layout=layout)], tensor(2, channels, *out, layout=layout), **attrs
    )
    check_kernel(work, lambda x: _reference(x, (out[0], out[1]), attrs), target)


_PLAIN: dict[str, Any] = {
    "kind": "max", "window": (3, 3), "strides": (2, 2), "dilation": (1, 1), "padding": (1, 1, 1, 1),
    "count_include_pad": False,
}  # fmt: skip


@pytest.mark.parametrize("target", _TARGETS, ids=lambda each: each.name)
def test_wished_layouts_and_epilogue(target: Target) -> None:
    inputs = [tensor(1, 20, 15, 15), tensor(1, 20, 1, 1), tensor(1)]
    program = PointwiseProgram(3, (*ADD.steps, ADD.steps[0].__class__("multiply", (3, 2), "float32")))
    work = workload("pool2d", inputs, tensor(1, 20, 8, 8), epilogue=program, **_PLAIN)
    wished = choose_layouts(work, target)
    assert wished is not None
    assert [each.layout for each in wished.inputs] == [blocked(target), blocked(target), None]
    check_kernel(wished, lambda x, b, c: (_nn.max_pool2d(x, 3, 2, 1) + b) * c, target)


@pytest.mark.parametrize("target", _TARGETS, ids=lambda each: each.name)
@pytest.mark.parametrize("channels", [32, 33])
def test_operands_of_lower_rank_are_read_where_they_have_elements(target: Target, channels: int) -> None:
    """Three axes of 33 channels end within a block: a blocked kernel would read past them."""
    inputs = [tensor(1, channels, 15, 15), tensor(channels, 1, 1)]
    work = workload("pool2d", inputs, tensor(1, channels, 8, 8), epilogue=ADD, **_PLAIN)
    wished = choose_layouts(work, target)
    assert (wished is None) == (channels == 33)
    check_kernel(wished or work, lambda x, b: _nn.max_pool2d(x, 3, 2, 1) + b, target)


def test_few_channels_stay_planar() -> None:
    work = workload("pool2d", [tensor(1, 1, 15, 15)], tensor(1, 1, 8, 8), **_PLAIN)
    assert choose_layouts(work, _TARGETS[-1]) is None


def test_integers() -> None:
    operand, output = (TensorType((1, 3, size, size), "uint8") for size in (9, 5))
    work = workload("pool2d", [operand], output, **_PLAIN)
    check_kernel(work, lambda x: _nn.max_pool2d(x.double(), 3, 2, 1).to(torch.uint8), _TARGETS[-1])
