"""Loops over contiguous elements in whole vectors, and when to share them among threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tvm.tirx.script.builder import ir as T

from ..dims import Dim, bounds, dim_expression, upper
from ..shapes import is_static
from ..tvm_names import dim_of
from .bindings import Expr
from .low_precision import LowBuffer

#: Kernels of fewer scalar steps run on one thread: waking the others costs more.
PARALLEL_STEPS = 16384


def worth_sharing(steps: int) -> bool:
    """Return whether threads should share a kernel of so many scalar steps, at the most."""
    return upper(steps) >= PARALLEL_STEPS


def powers_of_two(count: int, limit: int) -> list[tuple[int, int, int]]:
    """Cut a run of elements into vectors: (start, how many vectors, lanes), the lanes powers of two.

    As many of ``limit`` lanes as fit, then ever narrower ones: 53 by 16 gives [(0, 3, 16), (48, 1, 4), (52, 1, 1)].
    """
    pieces = []
    start, lanes = 0, limit
    while start < count:
        vectors = (count - start) // lanes
        if vectors:
            pieces.append((start, vectors, lanes))
            start += vectors * lanes
        lanes //= 2
    return pieces


def each_vector(count: int, lanes: int, body: Callable[[Expr, int], None], parallel: bool = False) -> None:
    """Emit ``body(start, lanes)`` for the vectors that make up a run of elements.

    What a run of a size known only at run time leaves over goes one element at a time.

    Args:
        count: elements of the run.
        lanes: elements of the widest vector.
        body: emits one vector's work; it opens its own vectorized loop.
        parallel: whether the whole vectors are shared among threads.
    """
    if isinstance(count, Dim):
        _each_vector_of_any(count, lanes, body, parallel)
        return
    for start, vectors, width in powers_of_two(count, lanes):
        if vectors == 1:
            body(start, width)
        else:
            with (T.parallel if parallel else T.serial)(0, vectors) as index:
                body(index * width + start, width)


def _each_vector_of_any(count: Dim, lanes: int, body: Callable[[Expr, int], None], parallel: bool) -> None:
    vectors, rest = divmod(count, lanes)
    with (T.parallel if parallel else T.serial)(0, extent(vectors)) as index:
        body(index * lanes, lanes)
    if rest != 0:
        with T.serial(0, extent(rest)) as index:
            body(index + extent(vectors * lanes), 1)


def extent(dim: int) -> Expr:
    """Return a dimension as a loop takes it."""
    return dim_expression(dim)


@contextmanager
def lane_loop(lanes: int) -> Iterator[Any]:
    """Open a vectorized loop; for one lane there is none and the lane is 0."""
    if lanes == 1:
        yield 0
    else:
        with T.vectorized(0, lanes) as lane:
            yield lane


@contextmanager
def nest(extents: Sequence[int], parallel: bool = False, cores: int = 1) -> Iterator[list[Expr]]:
    """Open nested loops, outermost first, and give their indices.

    The outer ones, as few as hold four steps for each core, are one loop that threads share if ``parallel``; cores
    count from 1, and a kernel made for one core is still shared where there are more. Of sizes known only at run time
    the smallest count.
    """
    shared = 1
    while shared < len(extents) and bounds(math.prod(extents[:shared]))[0] < 4 * max(cores, 8):
        shared += 1
    with ExitStack() as stack:
        fused = stack.enter_context((T.parallel if parallel else T.serial)(0, extent(math.prod(extents[:shared]))))
        inner = [stack.enter_context(T.serial(0, extent(each))) for each in extents[shared:]]
        yield [*split_index(fused, extents[:shared]), *inner]


def split_index(index: Expr, extents: Sequence[int]) -> list[Expr]:
    """Return the indices, outermost first, of nested loops of these extents that one fused index stands for."""
    found: list[Expr] = []
    for each in reversed(extents[1:]):
        found.insert(0, index % extent(each))
        index = index // extent(each)
    return [index, *found] if extents else []


def read_often(buffer: Any, lanes: int, readers: int) -> Any:
    """Return a buffer whose elements are read one by one, each so many times; float16 is copied to float32 first.

    A half widened on its way to a broadcast takes the instructions of a multiply-add, a vector of them in passing does
    not. The copy is emitted here, shared among threads.
    """
    if not isinstance(buffer, LowBuffer) or buffer.held != "float16" or readers < 4:
        return buffer
    shape = [dim_of(each) for each in buffer.shape]
    if not is_static(shape):
        return buffer
    count = math.prod(shape)
    wide = T.alloc_buffer(tuple(shape), "float32")
    source, target = flat_view(buffer), flat_view(wide)

    def copy(start: Expr, width: int) -> None:
        with lane_loop(width) as lane:
            T.buffer_store(target, source[start + lane], [start + lane])

    each_vector(count, lanes, copy, worth_sharing(count))
    return wide


def flat_view(buffer: Any) -> Any:
    """Return a one-dimensional view of a whole buffer."""
    if isinstance(buffer, LowBuffer):
        return buffer.flat(extent(math.prod(map(dim_of, buffer.shape))))
    return T.decl_buffer((extent(math.prod(map(dim_of, buffer.shape))),), buffer.dtype, data=buffer.data)
