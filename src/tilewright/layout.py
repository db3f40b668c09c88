"""Tensor layouts: how logical axes lie in memory.

A layout is written as in the literature: an upper-case letter is a logical axis, a number with the lower-case letter
is a block of it. ``NCHW16c`` stores [N, ceil(C/16), H, W, 16]; ``OIHW16i16o`` stores
[ceil(O/16), ceil(I/16), H, W, 16, 16]. The logical axes are the upper-case letters in the order of ``Layout.axes``. An
axis that its block does not divide is padded with zeros at its end; whoever writes a blocked tensor keeps that padding
zero.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_TOKEN = re.compile(r"([A-Z])|(\d+)([a-z])")


@dataclass(frozen=True)
class Layout:
    """A blocked layout of a tensor.

    Attributes:
        axes: the logical axes in logical order, one upper-case letter each ("NCHW", "OIHW", "KN").
        name: the layout, outermost first ("NCHW16c").
    """

    axes: str
    name: str

    def __post_init__(self) -> None:
        tokens = [match.groups() for match in _TOKEN.finditer(self.name)]
        if "".join(part for token in tokens for part in token if part) != self.name:
            raise ValueError(f"'{self.name}' is not a layout")
        axes = [axis for axis, *_ in tokens if axis]
        if sorted(axes) != sorted(self.axes) or len(set(axes)) < len(axes):
            raise ValueError(f"layout {self.name} does not hold the axes {self.axes}, each once")
        blocked = [axis.upper() for _, _, axis in tokens if axis]
        if not set(blocked) <= set(self.axes) or len(set(blocked)) < len(blocked):
            raise ValueError(f"layout {self.name} blocks an axis that it does not have, or one twice")
        if any(block and int(block) < 2 for _, block, _ in tokens):
            raise ValueError(f"layout {self.name} has a block of less than two elements")

    @cached_property
    def dims(self) -> tuple[tuple[int, int], ...]:
        """The stored dimensions, outermost first: pairs of (logical axis, block), the block 0 for the axis itself."""
        return tuple(
            (self.axes.index(match.group(1)), 0)
            if match.group(1)
            else (self.axes.index(match.group(3).upper()), int(match.group(2)))
            for match in _TOKEN.finditer(self.name)
        )

    @cached_property
    def blocks(self) -> tuple[int, ...]:
        """The block of each logical axis, 1 where it has none. An axis is blocked once at the most."""
        found = dict.fromkeys(range(len(self.axes)), 1)
        for axis, block in self.dims:
            if block:
                found[axis] = block
        return tuple(found[axis] for axis in range(len(self.axes)))

    def stored_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape in memory of a tensor with this logical shape."""
        return tuple(block or -(-shape[axis] // self.blocks[axis]) for axis, block in self.dims)

    def pack(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return a contiguous copy of a logical array as this layout stores it, padding zero."""
        padding = [(0, -size % block) for size, block in zip(array.shape, self.blocks, strict=True)]
        padded = np.pad(array, padding)
        split: list[int] = []
        position: dict[tuple[int, bool], int] = {}
        for axis, (size, block) in enumerate(zip(padded.shape, self.blocks, strict=True)):
            position[axis, False] = len(split)
            split.append(size // block)
            if block > 1:
                position[axis, True] = len(split)
                split.append(block)
        order = [position[axis, bool(block)] for axis, block in self.dims]
        return np.ascontiguousarray(padded.reshape(split).transpose(order))

    def unpack(self, array: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
        """Return the logical array of this shape that ``pack`` turned into the given one."""
        position = {(axis, bool(block)): index for index, (axis, block) in enumerate(self.dims)}
        order = [
            position[axis, inner] for axis in range(len(shape)) for inner in (False, True) if (axis, inner) in position
        ]
        padded = tuple(-(-size // block) * block for size, block in zip(shape, self.blocks, strict=True))
        whole = array.transpose(order).reshape(padded)
        return np.ascontiguousarray(whole[tuple(slice(0, size) for size in shape)])
