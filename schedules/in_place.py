"""Which operands of a kernel its output may overwrite: what is read only where the result is stored."""

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
    accesses = _Accesses(kernel.body, buffers[len(work.inputs)])
    return tuple(at for at in alike if accesses.spares(buffers[at]))


class _Accesses:
    """The loads and stores of a kernel's body. A buffer is known by its memory, which views of it share.

    Attributes:
        viewed: for each view, the buffer whose memory it is of.
    """

    def __init__(self, body: Any, output: Any) -> None:
        from tvm import ir, tirx
        from tvm_ffi import structural_walk

        self.output = output
        self.loads: list[Any] = []
        self.stores: list[tuple[Any, list[Any]]] = []
        self.viewed: dict[Any, Any] = {}

        def view(node: Any) -> None:
            if getattr(getattr(node.data, "op", None), "name", "") == "tirx.buffer_data":
                (base,) = node.data.args
                self.viewed[node.buffer] = self.viewed.get(base, base)

        structural_walk(body, ((tirx.DeclBuffer, view),))

        def store(node: Any) -> None:
            if self._is(node.buffer, output):
                loads: list[Any] = []
                structural_walk(node.value, (ir.TensorLoad, loads.append))
                self.stores.append((node, loads))

        def call(node: Any) -> None:
            if getattr(node.op, "name", "") == "tirx.address_of":
                self.loads.pop()  # its operand, which is no load: a prefetch

        structural_walk(body, ((tirx.BufferStore, store), (ir.TensorLoad, self.loads.append), (ir.Call, call)))

    def spares(self, operand: Any) -> bool:
        """Return whether each element of an operand is read only by the store that would overwrite it."""
        if not self.stores or any(self._is(load.source, self.output) for load in self.loads):
            return False
        counted = 0
        for store, loads in self.stores:
            own = [load for load in loads if self._is(load.source, operand)]
            if not own or not all(_same(load, store) for load in own):
                return False
            counted += len(own)
        return counted == len([load for load in self.loads if self._is(load.source, operand)])

    def _is(self, buffer: Any, base: Any) -> bool:
        return bool(self.viewed.get(buffer, buffer).same_as(base))


def _same(load: Any, store: Any) -> bool:
    """Return whether a load and a store are at the same place of views of one shape; along an axis of one they are."""
    from tvm import tirx
    from tvm_ffi import structural_equal

    one = tirx.const(1, "int32")

    shapes = list(load.source.shape), list(store.buffer.shape)
    if len(shapes[0]) != len(shapes[1]) or not all(map(structural_equal, *shapes)):
        return False
    axes = zip(load.indices, store.indices, shapes[0], strict=True)
    return all(structural_equal(size, one) or structural_equal(mine, other) for mine, other, size in axes)
