"""Functions of one byte, looked up in a table of 256."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...targets.target import Target
from ...workload import Workload
from ..kernel import Kernel, writing
from ..low_precision import store_element
from ..template import NotApplicable, template
from ..vectors import each_vector, flat_view, lane_loop, nest, split_index, worth_sharing

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any
#: Emits the look-up of so many elements from a place on.
LookUp = Callable[[Expr, int], None]


@template("byte_table", symbolic=True)
def byte_table(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """One element after the other, in the order of memory; what is behind it in the kernel goes in vectors.

    Inputs data, bytes of any layout, and the table [256]; the result is stored as the data is.
    """
    require_one_layout(work)
    with writing(work) as kernel:
        data, table, out = map(flat_view, (*kernel.inputs[:2], kernel.outputs[0]))

        def look_up(start: Expr, lanes: int) -> None:
            with lane_loop(lanes) as lane:
                at = start + lane
                value = table[data[at].astype("int32") & tirx.const(0xFF, "int32")]
                if work.epilogue:
                    value = kernel.finish(value, split_index(at, work.output.shape))
                store_element(out, value, [at])

        each_byte(kernel, target.lanes(), look_up)
    assert kernel.function is not None
    return kernel.function


def require_one_layout(work: Workload) -> None:
    """Raise NotApplicable where data and result are stored differently, or in blocks before an epilogue."""
    layouts = {work.inputs[0].layout, work.output.layout}
    if len(layouts) > 1 or (work.epilogue and layouts != {None}):
        raise NotApplicable


def each_byte(kernel: Kernel, lanes: int, look_up: LookUp) -> None:
    """Emit the look-up of every stored element, then zeros into the padding."""
    output = kernel.work.output
    count = math.prod(output.stored_shape)
    each_vector(count, lanes, look_up, worth_sharing(count))
    if output.layout is None:
        return
    dims = output.layout.dims
    for place, (axis, block) in enumerate(dims):
        rest = output.shape[axis] % block if block else 0
        if rest:
            whole = dims.index((axis, 0))
            others = [size for at, size in enumerate(output.stored_shape) if at not in (place, whole)]
            with nest(others) as indices, T.serial(0, block - rest) as lane:
                index = list(indices)
                for at, value in sorted([(place, lane + rest), (whole, output.shape[axis] // block)]):
                    index.insert(at, value)
                T.buffer_store(kernel.outputs[0], tirx.const(0, output.dtype), index)
