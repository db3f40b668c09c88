"""Which operands of a kernel its output may overwrite: a residual that is read only where its sum is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..workload import Workload

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc


def in_place_operands(kernel: PrimFunc, work: Workload) -> tuple[int, ...]:
    """Return the operands in whose memory the only output may lie.

    These are operands stored like the output, read by nothing but the value that is stored at the same indices; every
    store reads them, and nothing reads the output: no element is overwritten before it was read.

    Args:
        kernel: scheduled, not yet lowered; its parameters are the workload's inputs, then its outputs.
    """
    if len(work.outputs) != 1:
        return ()
    stored = (work.output.stored_shape, work.output.dtype, type(work.output))
    alike = [
        at
        for at, each in enumerate(work.inputs)
        if (each.stored_shape, each.dtype, type(each)) == stored and each.layout == work.output.layout
    ]
    if not alike:
        return ()
    buffers = list(kernel.params)
    accesses = _Accesses(kernel.body, buffers[len(work.inputs)], work.output.stored_shape)
    return tuple(at for at in alike if accesses.spares(buffers[at]))


class _Accesses:
    """The loads and stores of a kernel's body."""

    def __init__(self, body: Any, output: Any, shape: tuple[int, ...]) -> None:
        from tvm import ir, tirx
        from tvm_ffi import structural_walk

        self.output, self.shape = output, shape
        self.loads: list[Any] = []
        self.stores: list[tuple[Any, list[Any]]] = []

        def store(node: Any) -> None:
            if node.buffer.same_as(output):
                loads: list[Any] = []
                structural_walk(node.value, (ir.TensorLoad, loads.append))
                self.stores.append((node.indices, loads))

        def call(node: Any) -> None:
            if getattr(node.op, "name", "") == "tirx.address_of":
                self.loads.pop()  # its operand, which is no load: a prefetch

        structural_walk(body, ((tirx.BufferStore, store), (ir.TensorLoad, self.loads.append), (ir.Call, call)))

    def spares(self, operand: Any) -> bool:
        """Return whether each element of an operand is read only by the store that would overwrite it."""
        if not self.stores or any(load.source.same_as(self.output) for load in self.loads):
            return False
        counted = 0
        for indices, loads in self.stores:
            own = [load for load in loads if load.source.same_as(operand)]
            if not own or not all(self._same(load.indices, indices) for load in own):
                return False
            counted += len(own)
        return counted == len([load for load in self.loads if load.source.same_as(operand)])

    def _same(self, read: Any, stored: Any) -> bool:
        """Return whether two places in tensors of the output's shape are the same; along an axis of one they are."""
        from tvm_ffi import structural_equal

        axes = zip(read, stored, self.shape, strict=True)
        return all(size == 1 or bool(structural_equal(mine, other)) for mine, other, size in axes)
