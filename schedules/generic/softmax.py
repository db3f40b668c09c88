"""Softmax over any axis, its greatest element subtracted first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...targets.target import Target
from ...workload import Workload
from ..bindings import Bindings
from ..folds import MAXIMUM, SUM, fold_run
from ..kernel import Kernel, writing
from ..low_precision import LowBuffer, store_element
from ..template import NotApplicable, template
from ..transcendental import exp_nonpositive
from ..vectors import each_vector, extent, flat_view, lane_loop, nest, split_index, worth_sharing

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any
_COST = 8  # of one element, in scalar steps


@template("softmax", dtypes=("float32",), symbolic=True)
def softmax(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Three passes over a row, which stays in the nearest cache: maximum; exponentials and their sum; division.

    Along the last axis a row goes in vectors; along another axis neighbouring rows are the lanes of a vector.
    The exponentials wait in the output, or are computed twice where it would round them. Rows are shared among threads.
    """
    data = work.inputs[0]
    if any(each.layout for each in (*work.inputs, *work.outputs)) or data.dtype != "float32":
        raise NotApplicable
    axis = work.attr("axis")
    with writing(work) as kernel:
        writer = _Writer(kernel, target, axis)
        if math.prod(data.shape[axis + 1 :]) == 1:
            writer.contiguous()
        else:
            writer.strided()
    assert kernel.function is not None
    return kernel.function


def _exp(x: Expr) -> Expr:
    bindings = Bindings()
    return bindings.close(exp_nonpositive(bindings, bindings.bind(x)))


class _Writer:
    def __init__(self, kernel: Kernel, target: Target, axis: int) -> None:
        self.kernel, self.target, self.axis = kernel, target, axis
        shape = kernel.work.output.shape
        self.shape, self.count = shape, shape[axis]
        self.outer, self.inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        self.x, self.out = flat_view(kernel.inputs[0]), flat_view(kernel.outputs[0])
        self.narrow = isinstance(self.out, LowBuffer) or self.out.dtype != "float32"
        self.parallel = worth_sharing(math.prod(shape) * _COST)

    def contiguous(self) -> None:
        """Emit a softmax over adjacent elements."""
        lanes, count = self.target.lanes(), self.count
        with nest([self.outer], self.parallel) as (row,):
            begin = row * count
            scale = T.alloc_buffer((2,), "float32")
            T.buffer_store(scale, fold_run(MAXIMUM, count, lanes, "float32", lambda at: self.x[begin + at]), [0])

            def exponential(at: Expr) -> Expr:
                return self._exponential(begin + at, scale[0])

            total = fold_run(SUM, count, lanes, "float32", exponential)
            T.buffer_store(scale, tirx.const(1.0, "float32") / total, [1])

            def divide(start: Expr, width: int) -> None:
                with lane_loop(width) as lane:
                    value = self._kept(begin + start + lane, scale[0])
                    self._store(row, start + lane, 0, value * scale[1])

            each_vector(count, lanes, divide)

    def strided(self) -> None:
        """Emit a softmax over elements ``inner`` apart."""
        with nest([self.outer], self.parallel) as (row,):
            each_vector(self.inner, self.target.lanes(), lambda start, width: self._columns(row, start, width))

    def _columns(self, row: Expr, start: Expr, width: int) -> None:
        greatest = T.alloc_buffer((width,), "float32")
        total = T.alloc_buffer((width,), "float32")

        def place(step: Expr, lane: Expr) -> Expr:
            return (row * self.count + step) * self.inner + start + lane

        with lane_loop(width) as lane:
            T.buffer_store(greatest, MAXIMUM.identity("float32"), [lane])
            T.buffer_store(total, tirx.const(0.0, "float32"), [lane])
        with T.serial(0, extent(self.count)) as step, lane_loop(width) as lane:
            T.buffer_store(greatest, tirx.max(greatest[lane], self.x[place(step, lane)]), [lane])
        with T.serial(0, extent(self.count)) as step, lane_loop(width) as lane:
            value = self._exponential(place(step, lane), greatest[lane])
            T.buffer_store(total, total[lane] + value, [lane])
        with lane_loop(width) as lane:
            T.buffer_store(total, tirx.const(1.0, "float32") / total[lane], [lane])
        with T.serial(0, extent(self.count)) as step, lane_loop(width) as lane:
            value = self._kept(place(step, lane), greatest[lane])
            self._store(row, step, start + lane, value * total[lane])

    def _exponential(self, place: Expr, greatest: Expr) -> Expr:
        """Return e^(x - greatest), which the output keeps where it holds float32."""
        value = _exp(self.x[place] - greatest)
        if self.narrow:
            return value
        store_element(self.out, value, [place])
        return self.out[place]

    def _kept(self, place: Expr, greatest: Expr) -> Expr:
        """Return e^(x - greatest) again: as the output kept it, or computed anew."""
        return self._exponential(place, greatest) if self.narrow else self.out[place]

    def _store(self, row: Expr, step: Expr, column: Expr, value: Expr) -> None:
        """Store a result with the epilogue applied; ``column`` counts within the axes after the softmax's."""
        tail = (
            split_index(column, self.shape[self.axis + 1 :])
            if self.inner != 1
            else [0] * (len(self.shape) - self.axis - 1)
        )
        head = split_index(row, self.shape[: self.axis]) if self.axis else []
        value = self.kernel.finish(value, [*head, step, *tail])
        store_element(self.out, value, [(row * self.count + step) * self.inner + column])
