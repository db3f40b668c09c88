"""Sums, means, products, maxima and minima over any axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...dims import Dim, bounds, upper
from ...knobs import Knobs
from ...targets.target import Target
from ...workload import Workload
from ..access import logical_indices
from ..bindings import is_float
from ..folds import ACCUMULATORS, MAXIMUM, MINIMUM, PRODUCT, SUM, Fold, fold_run
from ..kernel import Kernel, writing
from ..low_precision import store_element
from ..strides import Loop, axis_strides, blocks_of, merged, row_major, stored_dims
from ..template import NotApplicable, template
from ..vectors import each_vector, extent, flat_view, lane_loop, nest, split_index, worth_sharing

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any
_FOLDS: dict[str, Fold] = {"sum": SUM, "mean": SUM, "prod": PRODUCT, "max": MAXIMUM, "min": MINIMUM}
_RUN = 8192  # elements that the accumulators take before their total is added up, so that rounding stays small


@template("reduce", symbolic=True)
def reduce(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Walk the data once in the order of its memory.

    Where the innermost axis is reduced, a run of it goes through several vectors of accumulators. Where it is kept,
    neighbouring results are the lanes of a vector. Results are shared among threads.
    """
    data = work.inputs[0]
    kind = work.attr("kind")
    if data.dtype in ("float16", "bool") or (kind == "mean" and not is_float(data.dtype)):
        raise NotApplicable
    if any(data.shape[axis] % blocks_of(data)[axis] for axis in work.attr("axes")):
        raise NotApplicable
    with writing(work) as kernel:
        _Writer(kernel, target, output_strides(work)).write()
    assert kernel.function is not None
    return kernel.function


def output_strides(work: Workload) -> list[int]:
    """Return the output's stride along each stored dimension of the data, 0 along reduced ones.

    Raises NotApplicable where none describes it: the output has other blocks, or lacks the data's padding.
    """
    data, output, axes = work.inputs[0], work.output, work.attr("axes")
    strides = axis_strides(output)
    blocks, kept = blocks_of(output), output_axes(work)
    found = []
    for axis, block in stored_dims(data):
        own = blocks_of(data)[axis]
        if axis in axes:
            found.append(0)
        elif blocks[kept[axis]] == own:
            found.append(strides[kept[axis], bool(block)])
        elif blocks[kept[axis]] == 1 and data.shape[axis] % own == 0:
            found.append(strides[kept[axis], False] * (1 if block else own))
        else:
            raise NotApplicable
    if any(blocks[axis] > 1 and axis not in kept.values() for axis in range(len(output.shape))):
        raise NotApplicable
    return found


def output_axes(work: Workload) -> dict[int, int]:
    """Return the output's axis for each axis of the data that is kept."""
    kept = [axis for axis in range(len(work.inputs[0].shape)) if axis not in work.attr("axes")]
    return {axis: axis if work.attr("keepdims") else at for at, axis in enumerate(kept)}


class _Writer:
    def __init__(self, kernel: Kernel, target: Target, strides: list[int]) -> None:
        self.kernel, self.target, work = kernel, target, kernel.work
        self.tensor, self.dtype = work.inputs[0], work.inputs[0].dtype
        self.fold, self.axes = _FOLDS[work.attr("kind")], work.attr("axes")
        extents = self.tensor.stored_shape
        dims = stored_dims(self.tensor)
        self.reduced_dims = {dim for dim, (axis, _) in enumerate(dims) if axis in self.axes}
        loops = merged(extents, [row_major(extents), strides])
        self.kept = [each for each in loops if each.dims[-1] not in self.reduced_dims]
        self.reduced = [each for each in loops if each.dims[-1] in self.reduced_dims]
        self.contiguous = bool(self.reduced) and loops[-1] is self.reduced[-1]
        self.data, self.out = flat_view(kernel.inputs[0]), flat_view(kernel.outputs[0])
        self.parallel = worth_sharing(math.prod(extents))
        self.lanes = target.lanes(self.dtype)

    def write(self) -> None:
        """Emit the loops over results, each with its reduction."""
        if self.contiguous or not self.kept:
            with nest([each.extent for each in self.kept], self.parallel, self.target.facts.cores) as at:
                self._result(at)
            return
        *outer, inner = self.kept
        extents = [each.extent for each in outer]
        shared = upper(math.prod(extents)) > 1
        with nest(extents, self.parallel and shared, self.target.facts.cores) as at:
            each_vector(
                inner.extent,
                self._width(inner),
                lambda start, width: self._columns(at[: len(outer)], start, width),
                self.parallel and not shared,
            )

    def _width(self, inner: Loop) -> int:
        """Return how many neighbouring results are reduced at once: some vectors where the data's rows are long."""
        vectors = self.target.facts.vector_registers // 4
        wide = inner.strides[0] == 1 and upper(inner.extent) >= 4 * vectors * self.lanes
        return self.lanes * vectors if wide else self.lanes

    def _result(self, at: list[Expr]) -> None:
        """Emit one result: the reduction of runs of adjacent elements."""
        at = at[: len(self.kept)]
        total = T.alloc_buffer((1,), self.dtype)
        T.buffer_store(total, self.fold.identity(self.dtype), [0])
        *outer, run = self.reduced or [Loop(1, (0, 0), ())]
        pieces = [(0, run.extent // _RUN, _RUN), (run.extent // _RUN * _RUN, 1, run.extent % _RUN)]
        for begin, steps, length in pieces:
            if steps == 0 or length == 0:
                continue
            with ExitStack() as stack:
                position = _dot(self.kept, at, 0)
                for each in outer:
                    position = position + stack.enter_context(T.serial(0, extent(each.extent))) * each.strides[0]
                position = position + stack.enter_context(T.serial(0, extent(steps))) * length + begin
                part = fold_run(self.fold, length, self.lanes, self.dtype, _reader(self.data, position))
                T.buffer_store(total, self.fold.combine(total[0], part), [0])
        self._store(total[0], at)

    def _columns(self, at: list[Expr], start: Expr, width: int) -> None:
        """Emit neighbouring results, one to a lane; steps of the innermost reduced loop take turns at accumulators."""
        *outer, last = self.reduced or [Loop(1, (0, 0), ())]
        rows = min(ACCUMULATORS, bounds(last.extent)[0] or 1) if width <= self.lanes else 1
        sums = T.alloc_buffer((rows, width), self.dtype)
        with T.unroll(0, rows) as row, lane_loop(width) as lane:
            T.buffer_store(sums, self.fold.identity(self.dtype), [row, lane])
        with ExitStack() as stack:
            position = _dot(self.kept, [*at, start], 0)
            for each in outer:
                position = position + stack.enter_context(T.serial(0, extent(each.extent))) * each.strides[0]
            for begin, steps, unrolled in (
                (0, last.extent // rows, rows),
                (last.extent // rows * rows, 1, last.extent % rows),
            ):
                loop = T.serial if isinstance(unrolled, Dim) else T.unroll
                with T.serial(0, extent(steps)) as step, loop(0, unrolled) as row, lane_loop(width) as lane:
                    place = position + (step * rows + row + begin) * last.strides[0] + lane * self.kept[-1].strides[0]
                    T.buffer_store(sums, self.fold.combine(sums[row, lane], self.data[place]), [row, lane])
        with lane_loop(width) as lane:
            total = sums[0, lane]
            for row in range(1, rows):
                total = self.fold.combine(total, sums[row, lane])
            self._store(total, [*at, start + lane])

    def _store(self, total: Expr, at: list[Expr]) -> None:
        work = self.kernel.work
        if work.attr("kind") == "mean":
            count = math.prod([self.tensor.shape[axis] for axis in self.axes])
            if isinstance(count, Dim):
                total = total / tirx.Cast(self.dtype, extent(count))
            else:
                total = total * tirx.const(1.0 / count, self.dtype)
        value = self.kernel.finish(total, self._logical(at))
        store_element(self.out, value, [_dot(self.kept, at, 1)])

    def _logical(self, at: list[Expr]) -> list[Expr]:
        """Return the output's logical indices."""
        zero = tirx.const(0, "int32")
        stored = [zero] * len(self.tensor.stored_shape)
        for each, index in zip(self.kept, at, strict=True):
            for dim, part in zip(
                each.dims, split_index(index, [self.tensor.stored_shape[dim] for dim in each.dims]), strict=True
            ):
                stored[dim] = part
        logical = logical_indices(self.tensor, stored)
        axes = {out: axis for axis, out in output_axes(self.kernel.work).items()}
        return [logical[axes[axis]] if axis in axes else zero for axis in range(len(self.kernel.work.output.shape))]


def _reader(data: Any, position: Expr) -> Callable[[Expr], Expr]:
    return lambda at: data[position + at]


def _dot(loops: list[Loop], indices: list[Expr], operand: int) -> Expr:
    total: Expr = tirx.const(0, "int32")
    for each, index in zip(loops, indices, strict=True):
        total = total + index * each.strides[operand]
    return total
