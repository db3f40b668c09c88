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


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for the weights in the order a step streams them: block of units, state, gate, unit of the block."""
    vectors, _ = _best_tile(work, target)
    packed = Layout("DGNK", f"DNKG{vectors * target.lanes()}n")
    rest = [None] * (len(work.inputs) - 2)
    return work.with_layouts((None, packed, *rest), (None,) * len(work.outputs))


@template("recurrent", dtypes=("float32", "int32"), layouts=layouts)
def packed_recurrent(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Keep the gates of a block of units in registers while the state streams past; see the writer for the loops."""
    layout = work.inputs[1].layout
    if layout is None:
        raise NotApplicable
    vectors, rest = divmod(layout.blocks[2], target.lanes())
    if rest:
        raise NotApplicable
    rows = knobs.choice("rows", range(1, 25), default=_rows(work, target, vectors))
    unroll = knobs.choice("unroll", (1, 2, 4, 8, 16), default=4)
    blocks = work.inputs[1].stored_shape[1]
    parts, share_directions = _parts(work, target, blocks)
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


def _rows(work: Workload, target: Target, vectors: int) -> int:
    """Return how many sequences have their sums in registers: 24 of 32 registers hold sums, 12 of 16."""
    registers = 24 if target.facts.vector_registers >= 32 else 12
    most = max(1, registers // (_columns(work) * vectors))
    return balanced(work.inputs[0].shape[1], most)[0][0]


def _best_tile(work: Workload, target: Target) -> tuple[int, int]:
    """Return the (vectors of a block, sequences of a tile) that take the fewest cycles, about.

    A step of the sum starts two loads and two multiply-adds a cycle and cannot be shorter than a multiply-add, four
    cycles; padding of the last block costs as much as units do.
    """
    batch, gates = work.inputs[0].shape[1], _columns(work)
    units = -(-work.inputs[0].shape[-1] // target.lanes())
    found = []
    for vectors in (1, 2, 3, 4, 6, 8):
        rows = _rows(work, target, vectors)
        sums = gates * vectors
        cycles = max((rows + sums) / 2, rows * sums / 2, 4.0)
        found.append((-(-units // vectors) * -(-batch // rows) * cycles, vectors, rows))
    _, vectors, rows = min(found)
    return vectors, rows


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
