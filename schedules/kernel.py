"""Write a kernel loop by loop: a PrimFunc whose parameters are a workload's inputs, then its outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as T

from ..dims import Dim
from ..tvm_names import expressions
from ..workload import LowTensor, TensorType, Workload
from .access import inside, load, stored_indices
from .low_precision import LowBuffer, memory_type, store_element
from .scalar import evaluate

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any


class Kernel:
    """A kernel being written.

    Attributes:
        work: the workload.
        inputs: one buffer of the stored shape for each input.
        outputs: one buffer of the stored shape for each output.
    """

    def __init__(self, work: Workload) -> None:
        self.work = work
        self.inputs = [self._parameter(f"p{at}", each) for at, each in enumerate(work.inputs)]
        self.outputs = [self._parameter(f"out{at}", each) for at, each in enumerate(work.outputs)]
        self.function: PrimFunc | None = None

    @staticmethod
    def _parameter(name: str, tensor: TensorType) -> Any:
        shape = expressions(tensor.stored_shape)
        if isinstance(tensor, LowTensor):
            return LowBuffer(T.arg(name, T.buffer(shape, memory_type(tensor.held))), tensor.held)
        return T.arg(name, T.buffer(shape, tensor.dtype))

    def finish(self, value: Expr, logical: Sequence[Expr], shape: tuple[int, ...] | None = None) -> Expr:
        """Return the anchor's result at its logical indices with the epilogue applied, padding lanes zero.

        ``shape`` is the anchor's shape where the output is a transpose of it.
        """
        work = self.work
        if work.epilogue:
            extra = zip(self.inputs[work.anchor_arity :], work.inputs[work.anchor_arity :], strict=True)
            operands = [load(buffer, tensor, logical, shape or work.output.shape) for buffer, tensor in extra]
            value = evaluate(work.epilogue, [value, *operands])
        valid = inside(work.output, logical)
        return value if valid is None else tirx.Select(valid, value, tirx.const(0, work.output.dtype))

    def store(self, value: Expr, logical: Sequence[Expr]) -> None:
        """Store the finished value of the only output at its logical indices."""
        store_element(self.outputs[0], value, stored_indices(self.work.output, logical))


@contextmanager
def writing(work: Workload) -> Iterator[Kernel]:
    """Open a kernel; when the block ends its ``function`` is the PrimFunc."""
    with IRBuilder() as builder:
        with T.prim_func(s_tir=True):
            T.func_name("main")
            T.func_attr({"global_symbol": "main", "tirx.noalias": True})
            kernel = Kernel(work)
            yield kernel
        kernel.function = builder.get()


def balanced(extent: int, limit: int) -> list[tuple[int, int]]:
    """Cut an extent into the fewest pieces not above a limit, as even as possible.

    Returns at most two runs as (size, count): 17 by 14 gives [(9, 1), (8, 1)]; 56 by 14 gives [(14, 4)]. An extent that
    only a run knows gives whole pieces, then each power of two at most once: n by 12 gives n // 12 pieces of twelve,
    and of 8, 4, 2 and 1 none or one.
    """
    if isinstance(extent, Dim):
        powers = [1 << each for each in reversed(range((limit - 1).bit_length()))]
        sizes = [(limit, extent // limit)]
        rest = extent % limit
        for size in powers:
            sizes.append((size, rest // size))
            rest = rest % size
        return [run for run in sizes if run[1] != 0]
    pieces = -(-extent // limit)
    size, larger = divmod(extent, pieces)
    return [run for run in ((size + 1, larger), (size, pieces - larger)) if run[1]]


def unrolled_loop(extent: int, unroll: int) -> list[tuple[int, int, int]]:
    """Cut a loop into (start, steps, unroll): whole steps first, then the rest as one, one by one where it varies."""
    steps, rest = divmod(extent, unroll)
    if isinstance(extent, Dim):
        return [run for run in ((0, steps, unroll), (steps * unroll, rest, 1)) if run[1] != 0]
    return [run for run in ((0, steps, unroll), (steps * unroll, 1, rest)) if run[1] * run[2]]


def starts(runs: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return (first position, size, count) of each run."""
    found: list[tuple[int, int, int]] = []
    first = 0
    for size, count in runs:
        found.append((first, size, count))
        first += size * count
    return found
