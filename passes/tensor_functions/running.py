"""Running products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm import te, tirx
from tvm.tirx.script.builder import ir as T

from .expressions import split_index
from .loops import written
from .operator import tensor_function


@tensor_function("running_product")
def running_product(x: te.Tensor, *, axis: int, exclusive: int) -> te.Tensor:
    """Each element times those before it along an axis; with ``exclusive`` only those before it."""
    sizes = [int(size) for size in x.shape]
    head, tail = sizes[:axis], sizes[axis + 1 :]

    def write(inputs: Sequence[Any], out: Any) -> None:
        total = T.alloc_buffer((1,), x.dtype)
        with T.grid(math.prod(head), math.prod(tail)) as (row, column):
            T.buffer_store(total, tirx.const(1, x.dtype), [0])
            with T.serial(0, sizes[axis]) as step:
                place = [*split_index(row, head), step, *split_index(column, tail)]
                after = total[0] * inputs[0][tuple(place)]
                T.buffer_store(out, total[0] if exclusive else after, place)
                T.buffer_store(total, after, [0])

    return written(sizes, x.dtype, [x], write, "running_product")
