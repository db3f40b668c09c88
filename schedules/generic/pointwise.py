"""Pointwise programs over operands of any layouts, in one pass over memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...dims import upper
from ...knobs import Knobs
from ...targets.target import Target
from ...workload import TensorType, Workload
from ..access import inside, load, logical_indices
from ..kernel import Kernel, writing
from ..low_precision import store_element
from ..scalar import cost, evaluate
from ..strides import Loop, blocks_of, merged, row_major, stored_dims, strides_along
from ..template import template
from ..vectors import each_vector, flat_view, lane_loop, nest, split_index, worth_sharing
from ..vectors import extent as loop_extent

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any
_CHUNK = 4096  # elements that one thread takes of a single long run


@template("pointwise", symbolic=True)
def pointwise(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Walk the output in the order of its memory; operands follow by strides.

    Dimensions that all operands step through alike are one loop, so that without broadcasting there is one loop alone.
    The innermost run goes in vectors; the outer loops, or chunks of a single run, are shared among threads.
    """
    with writing(work) as kernel:
        _Writer(kernel, target).write()
    assert kernel.function is not None
    return kernel.function


class _Writer:
    def __init__(self, kernel: Kernel, target: Target) -> None:
        self.kernel, self.target, work = kernel, target, kernel.work
        assert work.epilogue
        self.program, self.output = work.epilogue, work.output
        self.strides = [strides_along(each, self.output) for each in work.inputs]
        extents = self.output.stored_shape
        described = [each for each in self.strides if each is not None]
        apart = range(len(extents)) if None in self.strides else padded_dims(self.output)
        self.loops = merged(extents, [row_major(extents), *described], apart) or [
            Loop(1, (0,) * (len(described) + 1), ())
        ]
        self.padded = bool(padded_dims(self.output))
        self.flat = [flat_view(buffer) for buffer in (*kernel.inputs, *kernel.outputs)]

    def write(self) -> None:
        """Emit the loops."""
        *outer, inner = [each.extent for each in self.loops]
        effort = math.prod(outer) * inner * (1 + cost(self.program) // 8)
        lanes = self._lanes()
        if not outer and upper(inner) >= 2 * _CHUNK and worth_sharing(effort):
            self._chunks(inner, lanes)
            return
        if not outer:
            each_vector(inner, lanes, lambda start, width: self._vector([start], width))
            return
        with nest(outer, worth_sharing(effort), self.target.facts.cores) as indices:
            each_vector(inner, lanes, lambda start, width: self._vector([*indices, start], width))

    def _chunks(self, extent: int, lanes: int) -> None:
        """Emit a single run as chunks shared among threads and a rest."""
        whole = extent // _CHUNK
        with T.parallel(0, loop_extent(whole)) as chunk:
            each_vector(_CHUNK, lanes, lambda start, width: self._vector([chunk * _CHUNK + start], width))
        begin = loop_extent(whole * _CHUNK)
        each_vector(extent % _CHUNK, lanes, lambda start, width: self._vector([start + begin], width))

    def _lanes(self) -> int:
        """Return the lanes of a vector of the widest element type, 4 bytes at least: narrower values widen to that."""
        types = [*(each.dtype for each in self.kernel.work.inputs), self.output.dtype]
        return self.target.lanes("float64" if any("64" in each for each in types) else "float32")

    def _vector(self, indices: list[Expr], lanes: int) -> None:
        with lane_loop(lanes) as lane:
            at = [*indices[:-1], indices[-1] + lane]
            operands = [self._operand(position, at) for position in range(len(self.strides))]
            value = evaluate(self.program, operands)
            if self.padded:
                value = tirx.Select(inside(self.output, self._logical(at)), value, tirx.const(0, self.output.dtype))
            offset = _dot(at, [each.strides[0] for each in self.loops])
            store_element(self.flat[-1], value, [offset])

    def _operand(self, position: int, at: list[Expr]) -> Expr:
        tensor = self.kernel.work.inputs[position]
        if self.strides[position] is None or self._crosses_padding(tensor):
            last = [loop_extent(size - 1) for size in self.output.shape]
            held = [tirx.min(index, end) for index, end in zip(self._logical(at), last, strict=True)]
            return load(self.kernel.inputs[position], tensor, held, self.output.shape)
        rank = sum(each is not None for each in self.strides[:position]) + 1
        return self.flat[position][_dot(at, [each.strides[rank] for each in self.loops])]

    def _crosses_padding(self, tensor: TensorType) -> bool:
        """Return whether an operand without padding meets the output's padding."""
        offset = len(self.output.shape) - len(tensor.shape)
        axes = {stored_dims(self.output)[dim][0] - offset for dim in padded_dims(self.output)}
        return any(axis >= 0 and tensor.shape[axis] != 1 and blocks_of(tensor)[axis] == 1 for axis in axes)

    def _logical(self, at: list[Expr]) -> list[Expr]:
        """Return the output's logical indices."""
        sizes = self.output.stored_shape
        stored: list[Expr] = [tirx.const(0, "int32")] * len(sizes)
        for each, index in zip(self.loops, at, strict=True):
            parts = split_index(index, [sizes[dim] for dim in each.dims])
            for dim, part in zip(each.dims, parts, strict=True):
                stored[dim] = part
        return logical_indices(self.output, stored)


def padded_dims(tensor: TensorType) -> list[int]:
    """Return the stored dimensions of the axes that have padding."""
    blocks = blocks_of(tensor)
    return [dim for dim, (axis, _) in enumerate(stored_dims(tensor)) if tensor.shape[axis] % blocks[axis] != 0]


def _dot(indices: list[Expr], strides: list[int]) -> Expr:
    terms = [
        index * stride if stride != 1 else index for index, stride in zip(indices, strides, strict=True) if stride != 0
    ]
    total: Expr = terms[0] if terms else tirx.const(0, "int32")
    for term in terms[1:]:
        total = total + term
    return total
