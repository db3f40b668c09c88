"""Rows that one stage of a chain of convolutions hands to the next: where they lie, and which ones are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...workload import Workload
from ..access import stored_indices
from ..kernel import Kernel
from .window import Convolution

Expr = Any


class Ring:
    """The last rows of an image in channel blocks: row y lies where row y - ``rows`` lay.

    It is read and written by the indices of the whole image, [image, block, row, column, lane].

    Args:
        blocks: channel blocks.
        rows: how many rows it holds at least.
        width: pixels of a row.
        lanes: channels of a block.
        first_block: the block of the image that it holds first.
    """

    dtype = "float32"

    def __init__(self, blocks: int, rows: int, width: int, lanes: int, first_block: Expr) -> None:
        self.rows, self.width, self.first_block = ring_rows(rows), width, first_block
        # One pixel more than is used: blocks a multiple of 4096 bytes apart would evict one another.
        self.buffer = T.alloc_buffer((blocks, self.rows * width + 1, lanes), self.dtype)

    def _place(self, indices: Sequence[Expr]) -> list[Expr]:
        _, block, row, column, lane = indices
        return [block - self.first_block, tirx.bitwise_and(row, self.rows - 1) * self.width + column, lane]

    def __getitem__(self, indices: Sequence[Expr]) -> Expr:
        return self.buffer[tuple(self._place(indices))]

    def store(self, value: Expr, indices: Sequence[Expr]) -> None:
        """Store a value at the indices of the image."""
        T.buffer_store(self.buffer, value, self._place(indices))


class StageKernel(Kernel):
    """A kernel being written inside another: its operands are there already."""

    def __init__(self, work: Workload, inputs: Sequence[Any], output: Any) -> None:
        self.work, self.inputs, self.outputs = work, list(inputs), [output]
        self.function = None

    def store(self, value: Expr, logical: Sequence[Expr]) -> None:
        """Store the finished value at its logical indices."""
        output = self.outputs[0]
        if isinstance(output, Ring):
            output.store(value, stored_indices(self.work.output, logical))
        else:
            super().store(value, logical)


def ring_rows(rows: int) -> int:
    """Return how many rows a ring has that holds so many: a power of two, so that a row's place takes no division."""
    return 1 << (rows - 1).bit_length()


def rows_read(conv: Convolution, rows: int) -> int:
    """Return how many rows of the data so many rows of the result reach over, at the most."""
    reach = (rows - 1) * conv.strides[0] + (conv.kernel[0] - 1) * conv.dilation[0] + 1
    return min(conv.height, reach)


def first_row_read(conv: Convolution, row: Expr) -> Expr:
    """Return the first row of the data that a row of the result and those below it read."""
    return tirx.min(conv.height, tirx.max(0, row * conv.strides[0] - conv.top))


def end_of_rows_read(conv: Convolution, end: Expr) -> Expr:
    """Return behind which row of the data the rows of the result before ``end`` read nothing."""
    last = (end - 1) * conv.strides[0] - conv.top + (conv.kernel[0] - 1) * conv.dilation[0]
    return tirx.min(conv.height, tirx.max(0, last + 1))
