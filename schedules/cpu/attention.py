"""Attention in one kernel: softmax(program(q k^T)) v, its scores never written further than the nearest caches.

For a few rows of queries at a time, as many as a register tile has, the scores against all keys are computed into a
small buffer, turned into probabilities there and multiplied with the values. Where keys and values are more than the
second-level cache holds, more rows share each of their chunks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...knobs import Knobs
from ...targets.target import Target
from ...workload import Workload
from ..kernel import writing
from ..template import BYTES, CPUS, NotApplicable, template
from .attention_any import AnyLengthWriter, check_run_time_shapes
from .attention_operands import Shapes
from .attention_rows import RowWriter, guards_against_nan
from .attention_stream import StreamWriter
from .register_tile import tile_shape

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

#: Keys of a chunk, for contexts that go in chunks.
_CHUNK = 512


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for row-major operands, raise NotApplicable for what the template does not make."""
    if {each.dtype for each in work.inputs[:3]} != {"float32"} or work.output.dtype not in {"float32", *BYTES}:
        raise NotApplicable
    if any(program.steps and program.steps[-1].dtype != "float32" for program in work.inner):
        raise NotApplicable
    Shapes.of(work)
    if not work.is_static:
        check_run_time_shapes(work, target.lanes())
    return work


@template("attention", arch=CPUS, layouts=layouts, symbolic=True)
def attention(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Compute rows of scores in cache, softmax them, multiply with the values.

    Batches are shared among threads, and chunks of queries where batches are too few for the cores. Keys are packed for
    each batch into panels of one vector of keys; values are read in place when their columns are vectors in memory.
    """
    layouts(work, target)
    rows, vectors = tile_shape(target)
    tile = knobs.choice("tile", range(1, 16), default=rows)
    width = knobs.choice("vectors", (1, 2, 3, 4), default=vectors)
    unroll = knobs.choice("unroll", (1, 2, 4, 8), default=4)
    lanes = target.lanes()
    if not work.is_static:
        with writing(work) as kernel:
            AnyLengthWriter(kernel, target, tile, width, unroll).write()
        assert kernel.function is not None
        return kernel.function
    stream = knobs.choice("chunk", (0, lanes, 64, 128, 192, 256, 512), default=_CHUNK if _is_long(work, target) else 0)
    on_weights = work.inner[1]
    with writing(work) as kernel:
        if stream and (not on_weights.steps or guards_against_nan(on_weights)):
            StreamWriter(kernel, target, tile, width, unroll, stream // lanes).write()
        else:
            RowWriter(kernel, target, tile, width, unroll).write()
    assert kernel.function is not None
    return kernel.function


def _is_long(work: Workload, target: Target) -> bool:
    """Return whether the keys and values of one batch leave no room in half of the second-level cache."""
    shapes = Shapes.of(work)
    return shapes.keys * (shapes.depth + shapes.columns) * 4 > target.facts.l2_bytes // 2
