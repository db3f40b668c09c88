"""Tree ensembles on any target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...targets.target import Target
from ...tree_ensemble import TreeEnsemble
from ...workload import Workload
from ..kernel import writing
from ..template import NotApplicable, template
from ..tree_kernel import TreeKernel
from ..tree_masks import evaluate_rows
from ..tree_vectors import LANES, WORD, Lookups, scratch
from ..tree_walk import sum_trees, walk_rows, walk_trees

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

#: Up to so many rows are taken one by one, their trees side by side.
FEW_ROWS = 16
#: A block's columns and sums are to stay in the nearest cache but one.
_BLOCK_BYTES = 256 << 10
_MOST_ROWS = 512


@template("tree_ensemble")
def tree_ensemble(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Few rows: one at a time, sixteen trees side by side. Many: blocks of rows, one tree at a time."""
    return written(work, Lookups())


def written(work: Workload, lookups: Lookups) -> PrimFunc:
    """Return the kernel with look-ups as the target makes them."""
    if any(each.layout for each in (*work.inputs, *work.outputs)):
        raise NotApplicable
    with writing(work) as kernel:
        rows = work.inputs[0].shape[0]
        if rows <= FEW_ROWS:
            _few_rows(TreeKernel(kernel, lookups, 1))
        else:
            _many_rows(TreeKernel(kernel, lookups, block_of(work)))
    assert kernel.function is not None
    return kernel.function


def block_of(work: Workload) -> int:
    """Return how many rows a block has: a power of two from 64, as the rows and the caches allow."""
    own = _sizes(work)
    block = _MOST_ROWS
    while block > WORD and (block // 2 >= work.inputs[0].shape[0] or block * own > _BLOCK_BYTES):
        block //= 2
    return block


def _sizes(work: Workload) -> int:
    """Return the bytes of a row's columns and sums."""
    ensemble = TreeEnsemble.of(dict(work.attrs))
    types = dict(zip(ensemble.operands, work.inputs, strict=False))
    columns = ensemble.sides * types["tables"].shape[1] + (types["sets"].shape[1] if ensemble.sets else 0)
    return columns * {"uint8": 1, "uint16": 2, "int32": 4}[types["missing"].dtype] + types["base"].shape[0] * 8


def _many_rows(own: TreeKernel) -> None:
    blocks = -(-own.rows // own.block)
    if blocks == 1:
        own.allocate()
        _block(own, tirx.const(0, "int32"))
        return
    with T.parallel(0, blocks) as at:
        own.allocate()
        _block(own, at * own.block)


def _block(own: TreeKernel, first: Any) -> None:
    own.rank_rows(first)
    own.begin_sums()
    if own.ensemble.strategy == "complete":
        evaluate_rows(own)
    else:
        walk_rows(own)
    own.store(first)


def _few_rows(own: TreeKernel) -> None:
    own.allocate()
    leaf = scratch(-(-own.trees // LANES) * LANES, "int32")
    with T.serial(0, own.rows) as row:
        own.rank_one(row)
        walk_trees(own, leaf)
        own.begin_sums()
        sum_trees(own, leaf)
        own.store(row)
