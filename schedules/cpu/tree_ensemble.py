"""Tree ensembles with AVX-512: look-ups by gathers and permutations; one row as sixty-four trees a vector."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...layout import Layout
from ...targets.target import Target
from ...tree_ensemble import TreeEnsemble
from ...workload import Workload
from ..bindings import Expr
from ..generic.tree_ensemble import FEW_ROWS, written
from ..kernel import writing
from ..template import NotApplicable, template
from ..tree_kernel import TreeKernel
from ..tree_masks import Masks
from ..tree_vectors import LANES, WORD, Lookups, number, ramp, scratch, splat, vector_type
from ..tree_walk import sum_trees

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

_GATHERS = {"float32": "x86.avx512.mask.gather.dps.512", "int32": "x86.avx512.mask.gather.dpi.512"}
#: Leaves of a tree that permutations of registers choose from; more are gathered.
_PERMUTED = 64
#: Words of a vector: groups of trees that are evaluated together.
_GROUPS = 8
_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl")


@cache
def _intrinsic(name: str) -> int:
    import tvm

    return int(tvm.target.codegen.llvm_lookup_intrinsic_id(f"llvm.{name}"))


def _call(dtype: str, name: str, *args: Expr) -> Expr:
    return tirx.call_llvm_pure_intrin(dtype, tirx.const(_intrinsic(name), "uint32"), *args)


class Avx512(Lookups):
    """Gathers of 32 bits; leaves of single precision from registers."""

    def gather(self, buffer: Any, places: Expr, dtype: str) -> Expr:
        """Return the elements of a flat buffer at 16 places."""
        if dtype not in _GATHERS:
            return super().gather(buffer, places, dtype)
        pointer, every = tirx.address_of(buffer[0]), splat(tirx.const(True, "bool"))
        zero = splat(tirx.const(0, dtype))
        return _call(vector_type(dtype), _GATHERS[dtype], zero, pointer, places, every, number(4))

    def leaf(self, leaves: Any, begin: Expr, count: int, index: Expr, dtype: str) -> Expr:
        """Return 16 of the ``count`` leaves that stand from ``begin`` on."""
        if dtype != "float32" or not 2 * LANES <= count <= _PERMUTED:
            return super().leaf(leaves, begin, count, index, dtype)
        return self._permuted(leaves, begin, count, index)

    def _permuted(self, leaves: Any, begin: Expr, count: int, index: Expr) -> Expr:
        if count == 2 * LANES:
            low, high = leaves[ramp(begin)], leaves[ramp(begin + LANES)]
            return _call("float32x16", "x86.avx512.vpermi2var.ps.512", low, index, high)
        half = count // 2
        low, high = (self._permuted(leaves, begin + at, half, index) for at in (0, half))
        return tirx.Select(index >= splat(half), high, low)


@template("tree_ensemble", arch="x86", needs=_AVX512)
def tree_ensemble_avx512(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Blocks of rows, or one row's trees side by side, with vector look-ups."""
    return written(work, Avx512())


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for the nodes of sixty-four trees beside one another."""
    ensemble = TreeEnsemble.of(dict(work.attrs))
    types = dict(zip(ensemble.operands, work.inputs, strict=False))
    narrow = ensemble.strategy == "complete" and types["missing"].dtype == types["node_column"].dtype == "uint8"
    if not narrow or work.inputs[0].shape[0] > FEW_ROWS:
        raise NotApplicable
    wanted = {"node_column": Layout("TN", f"TN{WORD}t"), "node_rank": Layout("TN", f"TN{WORD}t")}
    names = [*ensemble.operands, *[""] * (len(work.inputs) - len(ensemble.operands))]
    return work.with_layouts(tuple(wanted.get(name) for name in names), (None,))


@template("tree_ensemble", arch="x86", needs=(*_AVX512, "avx512vbmi"), layouts=layouts)
def few_rows_vbmi(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """One row at a time: a permutation of bytes reads one node's column for 64 trees, and a comparison tests it."""
    ensemble = TreeEnsemble.of(dict(work.attrs))
    if all(each.layout is None for each in work.inputs):
        raise NotApplicable
    with writing(work) as kernel:
        own = TreeKernel(kernel, Avx512(), 1)
        own.allocate()
        groups = -(-own.trees // WORD)
        batches = -(-groups // _GROUPS)
        leaf = scratch(batches * _GROUPS * WORD, "int32")
        masks = Masks(ensemble.depth, _GROUPS)
        with T.serial(0, own.rows) as row:
            own.rank_one(row)
            with T.serial(0, batches) as batch:
                _evaluate(own, masks, batch, groups)
                masks.fold()
                with T.serial(0, _GROUPS) as group:
                    masks.leaf_numbers(group)
                    _places(own, masks, (batch * _GROUPS + group) * WORD, leaf)
            own.begin_sums()
            sum_trees(own, leaf)
            own.store(row)
    assert kernel.function is not None
    return kernel.function


def _evaluate(own: TreeKernel, masks: Masks, batch: Expr, groups: int) -> None:
    """Emit the tests of all nodes of the batch's trees; groups that do not exist leave what was there."""
    inner = masks.leaves - 1
    columns = [own.ranks[ramp(at * WORD, WORD)] for at in range(-(-own.columns // WORD))]
    with T.serial(0, tirx.min(_GROUPS, groups - batch * _GROUPS)) as group, T.serial(0, inner) as node:
        begin = T.bind(((batch * _GROUPS + group) * inner + node) * WORD)
        place = own.flat["node_column"][ramp(begin, WORD)]
        rank = own.flat["node_rank"][ramp(begin, WORD)]
        masks.set_node(node, group, _read(columns, place) >= rank)


def _read(columns: list[Expr], place: Expr) -> Expr:
    """Return the columns at 64 places of a row's up to 256."""
    signed = f"int8x{WORD}"
    if len(columns) == 1:
        data, index = (tirx.reinterpret(signed, each) for each in (columns[0], place))
        return tirx.reinterpret(f"uint8x{WORD}", _call(signed, "x86.avx512.permvar.qi.512", data, index))
    pairs = [columns[at : at + 2] for at in range(0, len(columns), 2)]
    found = []
    for pair in pairs:
        low, index, high = (tirx.reinterpret(signed, each) for each in (pair[0], place, pair[-1]))
        made = _call(signed, "x86.avx512.vpermi2var.qi.512", low, index, high)
        found.append(tirx.reinterpret(f"uint8x{WORD}", made))
    if len(found) == 1:
        return found[0]
    return tirx.Select(place >= splat(number(2 * WORD, "uint8"), WORD), found[1], found[0])


def _places(own: TreeKernel, masks: Masks, first: Expr, leaf: Any) -> None:
    """Emit where the leaves of 64 trees stand."""
    for at in range(0, WORD, LANES):
        begin = ramp((first + at) * (own.values * masks.leaves), LANES, own.values * masks.leaves)
        T.buffer_store(leaf, begin + masks.leaf_number(at), [ramp(first + at)])
