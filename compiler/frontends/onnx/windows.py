"""Sliding windows: padding, strides and output sizes as ONNX defines them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ....errors import UserError
from .node import Node


@dataclass(frozen=True)
class Window:
    """A window over the spatial axes of a tensor, one entry for each axis in every field.

    Attributes:
        kernel: the window's size in elements.
        strides: the steps between windows.
        dilation: the distance of neighbouring elements of a window.
        begin: padding before the first element.
        end: padding after the last element.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]

    @property
    def padding(self) -> tuple[int, ...]:
        """All begins, then all ends: (top, left, bottom, right) of an image."""
        return self.begin + self.end

    @property
    def extent(self) -> tuple[int, ...]:
        """How many elements a window spans, the gaps of its dilation included."""
        return tuple((size - 1) * step + 1 for size, step in zip(self.kernel, self.dilation, strict=True))


def window_of(node: Node, kernel: Sequence[int], spatial: Sequence[int]) -> Window:
    """Return the window that a node's attributes describe over data of these spatial sizes, ``auto_pad`` resolved."""
    rank = len(spatial)
    strides = node.get_ints("strides", (1,) * rank)
    dilation = node.get_ints("dilations", (1,) * rank)
    pads = node.get_ints("pads", (0,) * (2 * rank))
    if not len(kernel) == len(strides) == len(dilation) == rank or len(pads) != 2 * rank:
        raise UserError(f"its kernel, strides, dilations or pads are not made for {rank} spatial axes")
    if min((*kernel, *strides, *dilation)) < 1 or min(pads) < 0:
        raise UserError("its kernel, strides and dilations must be positive and its pads not negative")
    window = Window(tuple(kernel), strides, dilation, pads[:rank], pads[rank:])
    mode = node.get_string("auto_pad", "NOTSET")
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        return window
    total = [
        max((-(-size // step) - 1) * step + extent - size, 0)
        for size, step, extent in zip(spatial, strides, window.extent, strict=True)
    ]
    less, more = tuple(each // 2 for each in total), tuple(each - each // 2 for each in total)
    begin, end = (less, more) if mode == "SAME_UPPER" else (more, less)
    return Window(tuple(kernel), strides, dilation, begin, end)


def ceil_end(window: Window, spatial: Sequence[int]) -> tuple[int, ...]:
    """Return the end padding with which rounding down gives as many windows as rounding up with the window's own.

    A window that would begin in the end padding is left out, as ONNX and PyTorch do.
    """
    ends = []
    for axis, size in enumerate(spatial):
        begin, end, step, extent = window.begin[axis], window.end[axis], window.strides[axis], window.extent[axis]
        count = -(-(size + begin + end - extent) // step) + 1
        if (count - 1) * step >= size + begin:
            count -= 1
        ends.append(max(end, (count - 1) * step + extent - size - begin))
    return tuple(ends)
