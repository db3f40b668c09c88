"""The operands of an attention: its sizes, its matrices read through their transposes, panels of packed columns."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...workload import TensorType, Workload
from ..strided_copy import StridedCopy
from ..strides import Loop, row_major
from ..template import NotApplicable
from ..vectors import flat_view, lane_loop, powers_of_two
from .matmul import stored

Expr = Any


@dataclass(frozen=True)
class Shapes:
    """Logical sizes, after the transposes: q [batch, rows, depth], k [batch, depth, keys], v [batch, keys, columns].

    Attributes:
        batch: leading dimensions of the result; those of q, k and v broadcast to them.
        result: the result's shape before it is transposed.
    """

    batch: tuple[int, ...]
    rows: int
    depth: int
    keys: int
    columns: int
    result: tuple[int, ...]

    @staticmethod
    def of(work: Workload) -> Shapes:
        """Raises NotApplicable where the values have batches that the scores lack."""
        q, k, v = (logical_shape(operand, axes) for operand, axes in zip(work.inputs, operand_axes(work), strict=False))
        result = stored(work.output.shape, work.attr("out_axes"))
        scores = (*result[:-1], k[-1])
        lead = len(result) - 2
        for axis in range(lead):
            sizes = [shape[axis - lead - 2] for shape in (q, k) if axis - lead - 2 >= -len(shape)]
            if result[axis] not in (*sizes, 1):
                raise NotApplicable
        return Shapes(result[:-2], scores[-2], q[-1], scores[-1], v[-1], result)

    @property
    def scores(self) -> tuple[int, ...]:
        """The shape of the scores."""
        return (*self.result[:-1], self.keys)


def operand_axes(work: Workload) -> tuple[tuple[int, ...], ...]:
    """Return the transposes through which queries, keys and values are read."""
    return work.attr("q_axes"), work.attr("k_axes"), work.attr("v_axes")


def logical_shape(operand: TensorType, axes: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of an operand's transpose."""
    return tuple(operand.shape[axis] for axis in axes)


class Operand:
    """A matrix per batch, read through its transpose: element [batch, row, column], all logical."""

    def __init__(self, buffer: Any, tensor: TensorType, axes: Sequence[int], batch: tuple[int, ...]) -> None:
        self.view, self.dtype = flat_view(buffer), "float32"
        strides = [row_major(tensor.shape)[axis] for axis in axes]
        *lead, self.rows, self.columns = logical_shape(tensor, axes)
        *outer, self.row_stride, self.column_stride = strides
        self._batch_strides = [0] * (len(batch) - len(lead)) + [
            0 if size == 1 else stride for size, stride in zip(lead, outer, strict=True)
        ]

    def in_pairs(self, rows: bool) -> Operand | None:
        """Return the matrix with pairs of rows, else of columns, as its elements; None where memory has no such pairs.

        The two of a pair must be neighbours, the first at an even place.
        """
        strides = [self.row_stride, self.column_stride]
        along, across = strides if rows else reversed(strides)
        if (
            along != 1
            or (self.rows if rows else self.columns) % 2
            or any(stride % 2 for stride in (across, *self._batch_strides))
        ):
            return None
        made = copy(self)
        made.view, made.dtype = self.view.pairs(), "int32"
        made._batch_strides = [stride // 2 for stride in self._batch_strides]
        if rows:
            made.rows, made.column_stride = self.rows // 2, self.column_stride // 2
        else:
            made.columns, made.row_stride = self.columns // 2, self.row_stride // 2
        return made

    def base(self, batch: Sequence[Expr]) -> Expr:
        """Return where the matrix of a batch begins."""
        terms = [index * stride for index, stride in zip(batch, self._batch_strides, strict=True) if stride]
        return sum(terms, tirx.const(0, "int32"))

    def element(self, base: Expr, row: Expr, column: Expr) -> Expr:
        """Return an element of the matrix that begins at ``base``."""
        return self.view[base + row * self.row_stride + column * self.column_stride]


class Panels:
    """The second operand of a product: vectors of columns, in place or packed to [columns / lanes, rows, lanes]."""

    def __init__(self, operand: Operand, lanes: int) -> None:
        self.operand, self.lanes = operand, lanes
        self.blocks = -(-operand.columns // lanes)
        self.packs = operand.column_stride != 1 or operand.columns % lanes != 0
        self._panel: Any = None
        self._base: Expr = 0

    def open(self, batch: Sequence[Expr]) -> None:
        """Begin a batch: pack its matrix where that is needed; columns past the last are zero."""
        operand, lanes = self.operand, self.lanes
        self._base = operand.base(batch)
        if not self.packs:
            return
        self._panel = T.alloc_buffer((self.blocks, operand.rows, lanes), operand.dtype)
        full, rest = divmod(operand.columns, lanes)
        across, down = operand.column_stride, operand.row_stride
        depth = Loop(operand.rows, (down, lanes), ())
        if full:
            block = Loop(full, (across * lanes, operand.rows * lanes), ())
            self._copy([block, Loop(lanes, (across, 1), ()), depth], 0)
        if rest:
            self._copy([Loop(rest, (across, 1), ()), depth], full)
            with T.serial(0, operand.rows) as row:
                for start, _, width in cut_vectors(rest, lanes, lanes):
                    with lane_loop(width) as lane:
                        T.buffer_store(self._panel, tirx.const(0, operand.dtype), [full, row, lane + start])

    def _copy(self, loops: list[Loop], block: int) -> None:
        rows, across = self.operand.rows, self.operand.column_stride
        base = (self._base + block * self.lanes * across, tirx.const(block * rows * self.lanes, "int32"))
        StridedCopy(self.operand.view, flat_view(self._panel), loops, self.lanes, base=base, parallel=False).emit()

    def vector(self, block: Expr, row: Expr, lane: Expr) -> Expr:
        """Return a lane of one vector of columns of a row."""
        if self.packs:
            return self._panel[block, row, lane]
        return self.operand.element(self._base, row, block * self.lanes + lane)


def cut_vectors(start: int, stop: int, lanes: int) -> list[tuple[int, int, int]]:
    """Cut start..stop into single vectors (start, 1, lanes) whose widths are powers of two."""
    return [
        (start + first + at * width, 1, width)
        for first, count, width in powers_of_two(stop - start, lanes)
        for at in range(count)
    ]
