"""Workloads over 16-bit floats as templates see them: everything is computed in float32, memory holds 16 bits.

    conv2d(x bfloat16, w bfloat16) -> add(bias float32) -> astype(bfloat16)
        -->  conv2d(x, w) -> add(bias), all of float32, but x, w and the result have 16 bits in memory

Values in registers are never rounded: a conversion between operators of one kernel is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..workload import LowTensor, PointwiseProgram, PointwiseStep, TensorType, Workload

#: Element types that are widened.
LOW = frozenset({"bfloat16", "float16"})
#: The type as which elements that are only moved are loaded and stored.
_BITS = {"bfloat16": "uint16", "float16": "float16"}
#: Families that move elements and compute nothing.
_CARRIERS = frozenset({"transpose", "rearrange", "layout_transform"})
#: Families whose templates take ``LowTensor``; the others have float16 as one more element type, or refuse it.
_FAMILIES = _CARRIERS | {
    "conv2d", "conv2d_transpose", "matmul", "attention", "softmax", "layer_norm", "rms_norm", "pool2d", "reduce",
    "resample", "pointwise",
}  # fmt: skip


def is_low(work: Workload) -> bool:
    """Return whether a workload reads or writes elements that are widened."""
    return work.family in _FAMILIES and any(each.dtype in LOW for each in (*work.inputs, *work.outputs))


def widened(work: Workload) -> Workload:
    """Return a workload in the types that templates compute in; the same where it has no low element type."""
    if not is_low(work):
        return work
    types = {each.dtype for each in (*work.inputs, *work.outputs)}
    if work.family in _CARRIERS and not work.epilogue and len(types) == 1 and not dict(work.attrs).get("fill"):
        return _with_types(work, lambda each: replace(each, dtype=_BITS[each.dtype]))
    # What is computed between the stages of an anchor is of float32; of its operands' types nothing is said.
    inner = tuple(_widened_program(each, ["float32", *[""] * (each.operands - 1)]) for each in work.inner)
    wide = replace(work, epilogue=_widened_epilogue(work), inner=inner)
    return _with_types(wide, _widened_tensor)


def narrowed(wide: Workload, work: Workload) -> Workload:
    """Return the workload whose widened form was turned into ``wide``, with the layouts and attributes of that."""
    if not is_low(work):
        return wide
    stored = work.with_layouts(tuple(each.layout for each in wide.inputs), tuple(each.layout for each in wide.outputs))
    return replace(stored, attrs=wide.attrs)


def _with_types(work: Workload, change: Callable[[TensorType], TensorType]) -> Workload:
    return replace(work, inputs=tuple(map(change, work.inputs)), outputs=tuple(map(change, work.outputs)))


def _widened_tensor(tensor: TensorType) -> TensorType:
    if tensor.dtype not in LOW:
        return tensor
    return LowTensor(tensor.shape, "float32", tensor.layout, held=tensor.dtype)


def _widened_epilogue(work: Workload) -> PointwiseProgram | None:
    if work.epilogue is None:
        return None
    read = [each.dtype for each in work.inputs[work.anchor_arity :]]
    given = [work.inputs[0].dtype, *read] if work.anchor_arity else read
    program = _widened_program(work.epilogue, given)
    return program if program.steps or not work.anchor_arity else None


def _widened_program(program: PointwiseProgram, given: Sequence[str]) -> PointwiseProgram:
    """Return a program in float32, without the steps that only change between low types and float32.

    ``given`` are the types of its operands.
    """
    types = ["float32" if each in LOW else each for each in given]
    places = list(range(program.operands))
    steps: list[PointwiseStep] = []
    for step in program.steps:
        dtype = "float32" if step.dtype in LOW else step.dtype
        if step.op == "astype" and dtype == types[places[step.args[0]]] == "float32":
            places.append(places[step.args[0]])
            continue
        places.append(program.operands + len(steps))
        types.append(dtype)
        steps.append(replace(step, args=tuple(places[each] for each in step.args), dtype=dtype))
    return PointwiseProgram(program.operands, tuple(steps))
