"""Recurrent layers after their input projection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...knobs import Knobs
from ...layout import Layout
from ...recurrent import Recurrence
from ...targets.target import Target
from ...workload import Workload
from ..kernel import balanced, writing
from ..recurrent import RecurrentWriter
from ..recurrent_cell import phases
from ..recurrent_operands import Tile
from ..template import NotApplicable, template

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

#: Cycles a thread needs of work before it is worth waking: waking one and waiting for it takes about a quarter of it.
_SHARED_CYCLES = 8000
_VECTORS = (1, 2, 3, 4, 6, 8)


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for the weights in the order a step streams them: vector of units, state, gate, unit of the vector."""
    packed = Layout("DGNK", f"DNKG{target.lanes()}n")
    rest = [None] * (len(work.inputs) - 2)
    return work.with_layouts((None, packed, *rest), (None,) * len(work.outputs))


@template("recurrent", dtypes=("float32", "int32"), layouts=layouts)
def packed_recurrent(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Keep the gates of a block of units in registers while the state streams past; see the writer for the loops.

    Each vector of a block has weights of its own, so that the caches see as many streams as there are vectors.
    """
    if work.inputs[1].layout is None:
        raise NotApplicable
    vectors = knobs.choice("vectors", _VECTORS, default=_vectors(work, target))
    rows = knobs.choice("rows", range(1, 25), default=_rows(work, target, vectors))
    unroll = knobs.choice("unroll", (1, 2, 4, 8, 16), default=4)
    parts, share_directions = _parts(work, target, -(-work.inputs[1].stored_shape[1] // vectors))
    tile = Tile(target.lanes(), vectors, rows, unroll, parts, share_directions)
    return _written(work, tile, packed=True, dtype="float32")


@template("recurrent", dtypes=("float16", "float32", "float64", "int32"))
def plain_recurrent(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """One unit of one sequence at a time, in any floating-point type; half precision is computed in single."""
    if any(each.layout for each in work.inputs):
        raise NotApplicable
    dtype = work.outputs[0].dtype
    return _written(work, Tile(), packed=False, dtype="float32" if dtype == "float16" else dtype)


def _written(work: Workload, tile: Tile, *, packed: bool, dtype: str) -> PrimFunc:
    with writing(work) as kernel:
        RecurrentWriter(kernel, tile, packed, dtype).write()
    assert kernel.function is not None
    return kernel.function


def _columns(work: Workload) -> int:
    """Return how many gates have sums in registers at a time."""
    return max(phase.gates for phase in phases(Recurrence.of(dict(work.attrs))))


def _registers(target: Target) -> int:
    """Return how many registers there are for sums and weights, beside states and products not yet added."""
    fused = target.arch != "x86" or "fma" in target.features
    return target.facts.vector_registers - (3 if fused else 6)


def _rows(work: Workload, target: Target, vectors: int) -> int:
    """Return how many sequences have their sums in registers together, and beside them the weights they share."""
    columns = _columns(work) * vectors
    most = max(1, (_registers(target) - columns) // columns)
    return balanced(work.inputs[0].shape[1], most)[0][0]


def _vectors(work: Workload, target: Target) -> int:
    """Return how many vectors of units a block has for a step to take the fewest cycles, about.

    A step of the sum starts two loads and two multiply-adds a cycle, cannot be shorter than a multiply-add, four
    cycles, and gets a line of weights from the second-level cache in three quarters of a cycle. Padding of the last
    block costs as much as units do.
    """
    batch, gates = work.inputs[0].shape[1], _columns(work)
    units = -(-work.inputs[0].shape[-1] // target.lanes())

    def cycles(vectors: int) -> float:
        rows, sums = _rows(work, target, vectors), gates * vectors
        lines = sums * target.lanes() / 16
        step = max((rows + sums) / 2, rows * sums / 2, 4.0, 0.75 * lines)
        return -(-units // vectors) * -(-batch // rows) * step

    possible = [each for each in _VECTORS if gates * each <= _registers(target)]
    return min(possible, key=cycles)


def _parts(work: Workload, target: Target, blocks: int) -> tuple[int, bool]:
    """Return into how many parts a step is cut for threads, and whether whole directions are shared instead.

    Every step ends with a barrier, so that small layers run on one thread. The time of a step is that of its weights
    from the second-level cache, two cycles a vector, and half a cycle for each multiply-add.
    """
    steps, batch, directions, gates, units = work.inputs[0].shape
    cycles = gates * units * -(-units // target.lanes()) * (2 + batch / 2)
    wanted = min(target.facts.cores, int(directions * cycles) // _SHARED_CYCLES)
    if wanted <= directions:
        return 1, directions > 1 and steps * cycles >= _SHARED_CYCLES
    return max(part for part in range(1, wanted // directions + 1) if blocks % part == 0), False
