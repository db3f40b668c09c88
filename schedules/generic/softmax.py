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
    The exponentials wait in the output. Rows are shared among threads.
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
        self.parallel = worth_sharing(math.prod(shape) * _COST)

    def contiguous(self) -> None:
        """Emit a softmax over adjacent elements."""
        lanes, count = self.target.lanes(), self.count
        with nest([self.outer], self.parallel) as (row,):
            begin = row * count
            scale = T.alloc_buffer((2,), "float32")
            T.buffer_store(scale, fold_run(MAXIMUM, count, lanes, "float32", lambda at: self.x[begin + at]), [0])

            def exponential(at: Expr) -> Expr:
                T.buffer_store(self.out, _exp(self.x[begin + at] - scale[0]), [begin + at])
                return self.out[begin + at]

            total = fold_run(SUM, count, lanes, "float32", exponential)
            T.buffer_store(scale, tirx.const(1.0, "float32") / total, [1])

            def divide(start: Expr, width: int) -> None:
                with lane_loop(width) as lane:
                    self._store(row, start + lane, 0, self.out[begin + start + lane] * scale[1])

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
            T.buffer_store(self.out, _exp(self.x[place(step, lane)] - greatest[lane]), [place(step, lane)])
            T.buffer_store(total, total[lane] + self.out[place(step, lane)], [lane])
        with lane_loop(width) as lane:
            T.buffer_store(total, tirx.const(1.0, "float32") / total[lane], [lane])
        with T.serial(0, extent(self.count)) as step, lane_loop(width) as lane:
            self._store(row, step, start + lane, self.out[place(step, lane)] * total[lane])

    def _store(self, row: Expr, step: Expr, column: Expr, value: Expr) -> None:
        """Store a result with the epilogue applied; ``column`` counts within the axes after the softmax's."""
        tail = (
            split_index(column, self.shape[self.axis + 1 :])
            if self.inner != 1
            else [0] * (len(self.shape) - self.axis - 1)
        )
        head = split_index(row, self.shape[: self.axis]) if self.axis else []
        value = self.kernel.finish(value, [*head, step, *tail])
        T.buffer_store(self.out, value, [(row * self.count + step) * self.inner + column])
