"""The k first elements of each run in order of size, with their places."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...targets.target import Target
from ...workload import Workload
from ..folds import MAXIMUM, MINIMUM
from ..kernel import Kernel, writing
from ..template import NotApplicable, template
from ..vectors import PARALLEL_STEPS, flat_view, nest

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any
#: More than these, and sorting the whole run is quicker than inserting into a list of the best.
_INSERTED = 32


@template("topk")
def topk(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Each run on one thread: few elements by insertion into a sorted list, many by a merge sort of the places.

    Input x; outputs the values, then their places along ``axis``, equal values in the order of their places.
    """
    data = work.inputs[0]
    if any(each.layout for each in (*work.inputs, *work.outputs)) or data.dtype in ("bool", "float16", "bfloat16"):
        raise NotApplicable
    with writing(work) as kernel:
        _Writer(kernel).write()
    assert kernel.function is not None
    return kernel.function


class _Writer:
    def __init__(self, kernel: Kernel) -> None:
        self.work = work = kernel.work
        shape, axis = work.inputs[0].shape, work.attr("axis")
        self.dtype, self.size, self.count = work.inputs[0].dtype, shape[axis], work.attr("k")
        self.outer, self.inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        self.x = flat_view(kernel.inputs[0])
        self.values, self.places = (flat_view(each) for each in kernel.outputs)
        self.largest = work.attr("largest")

    def write(self) -> None:
        """Emit the loop over runs."""
        effort = self.outer * self.inner * self.size * max(1, self.size.bit_length())
        with nest([self.outer, self.inner], effort >= PARALLEL_STEPS) as (outer, inner):
            begin = outer * (self.size * self.inner) + inner
            result = outer * (self.count * self.inner) + inner
            if self.count <= _INSERTED:
                self._insert(begin, result)
            else:
                self._sort(begin, result)

    def _better(self, left: Expr, right: Expr) -> Expr:
        return left > right if self.largest else left < right

    def _store(self, result: Expr, rank: Expr, value: Expr, place: Expr) -> None:
        T.buffer_store(self.values, value, [result + rank * self.inner])
        T.buffer_store(self.places, place.astype(self.work.outputs[1].dtype), [result + rank * self.inner])

    def _insert(self, begin: Expr, result: Expr) -> None:
        """Emit the list of the best, behind a value that none surpasses: the search for a place ends there."""
        best = T.alloc_buffer((self.count + 1,), self.dtype)
        place = T.alloc_buffer((self.count + 1,), "int32")
        rank = T.alloc_buffer((1,), "int32")
        T.buffer_store(best, (MINIMUM if self.largest else MAXIMUM).identity(self.dtype), [0])
        with T.serial(0, self.size) as at:
            value = T.bind(self.x[begin + at * self.inner])
            with T.If(tirx.any(at < self.count, self._better(value, best[self.count]))), T.Then():
                T.buffer_store(rank, tirx.min(at, self.count - 1) + 1, [0])
                with T.While(self._better(value, best[rank[0] - 1])):
                    T.buffer_store(best, best[rank[0] - 1], [rank[0]])
                    T.buffer_store(place, place[rank[0] - 1], [rank[0]])
                    T.buffer_store(rank, rank[0] - 1, [0])
                T.buffer_store(best, value, [rank[0]])
                T.buffer_store(place, at, [rank[0]])
        with T.serial(0, self.count) as at:
            self._store(result, at, best[at + 1], place[at + 1])

    def _sort(self, begin: Expr, result: Expr) -> None:
        """Emit a bottom-up merge sort of places; it is stable."""
        orders = [T.alloc_buffer((self.size,), "int32") for _ in range(2)]
        heads = T.alloc_buffer((2,), "int32")
        with T.serial(0, self.size) as at:
            T.buffer_store(orders[0], at, [at])
        width = 1
        while width < self.size:
            with T.serial(0, -(-self.size // (2 * width))) as pair:
                self._merge(begin, orders, heads, pair * (2 * width), width)
            orders.reverse()
            width *= 2
        with T.serial(0, self.count) as at:
            self._store(result, at, self.x[begin + orders[0][at] * self.inner], orders[0][at])

    def _merge(self, begin: Expr, orders: list[Any], heads: Any, start: Expr, width: int) -> None:
        source, destination = orders
        last = self.size - 1
        middle = T.bind(tirx.min(start + width, self.size))
        end = T.bind(tirx.min(start + 2 * width, self.size))
        T.buffer_store(heads, start, [0])
        T.buffer_store(heads, middle, [1])
        with T.serial(0, end - start) as step:
            left, right = (T.bind(source[tirx.min(heads[side], last)]) for side in range(2))
            later = self._better(self.x[begin + right * self.inner], self.x[begin + left * self.inner])
            takes_right = T.bind(tirx.all(heads[1] < end, tirx.any(heads[0] >= middle, later)))
            T.buffer_store(destination, tirx.Select(takes_right, right, left), [start + step])
            T.buffer_store(heads, heads[0] + tirx.Select(takes_right, 0, 1), [0])
            T.buffer_store(heads, heads[1] + tirx.Select(takes_right, 1, 0), [1])
