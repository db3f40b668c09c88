"""Chains of convolutions that one kernel makes: how a workload describes them, and its stages as workloads.

A ``conv2d_chain`` reads the data, then the weights of every stage, then the operands of the programs between stages,
then those of the epilogue. Its attributes are those of each stage's convolution with the stage's number at the end
("strides0", "strides1", ...). What a stage makes is the data of the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from .layout import Layout
from .workload import PointwiseProgram, TensorType, Workload, attributes

FAMILY = "conv2d_chain"
_ATTRIBUTES = ("strides", "padding", "dilation", "groups", "constant_weight")
_NOTHING = PointwiseProgram(1, ())
_T = TypeVar("_T")


def arranged(stages: Sequence[Sequence[_T]]) -> list[_T]:
    """Return the operands of convolutions (data, weight, others) in the order in which their chain reads them."""
    first, *_ = stages
    return [first[0], *(stage[1] for stage in stages), *(each for stage in stages for each in stage[2:])]


def chain_of(stages: Sequence[Workload]) -> Workload:
    """Return the chain of convolutions, each of which reads the result of the one before as its data."""
    described = {f"{name}{at}": stage.attr(name) for at, stage in enumerate(stages) for name in _ATTRIBUTES}
    inner = tuple(stage.epilogue or _NOTHING for stage in stages[:-1])
    return Workload(
        family=FAMILY,
        inputs=tuple(arranged([stage.inputs for stage in stages])),
        outputs=stages[-1].outputs,
        attrs=attributes(described),
        anchor_arity=1 + len(stages) + sum(program.operands - 1 for program in inner),
        epilogue=stages[-1].epilogue,
        inner=inner,
    )


def places_of(work: Workload) -> list[list[int]]:
    """Return for each stage where its operands but the data stand among the chain's inputs: its weight first."""
    count = len(work.inner) + 1
    programs = [program.operands - 1 for program in work.inner]
    sizes = [*programs, len(work.inputs) - 1 - count - sum(programs)]
    starts = [1 + count + sum(sizes[:at]) for at in range(count)]
    return [[1 + at, *range(first, first + size)] for at, (first, size) in enumerate(zip(starts, sizes, strict=True))]


def stages_of(work: Workload, between: Layout | None = None) -> list[Workload]:
    """Return the stages of a chain, each a ``conv2d``; what one hands to the next is stored in ``between``."""
    stages: list[Workload] = []
    data = work.inputs[0]
    places = places_of(work)
    for at, place in enumerate(places):
        attrs = {name: work.attr(f"{name}{at}") for name in _ATTRIBUTES}
        operands = [work.inputs[each] for each in place]
        last = at == len(places) - 1
        result = work.output if last else TensorType(_result_shape(data, operands[0], attrs), data.dtype, between)
        program = work.epilogue if last else work.inner[at]
        epilogue = program if program and program.steps else None
        stages.append(Workload("conv2d", (data, *operands), (result,), attributes(attrs), 2, epilogue))
        data = result
    return stages


def _result_shape(data: TensorType, weight: TensorType, attrs: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    top, left, bottom, right = attrs["padding"]
    sizes = [
        (size + pads - (taps - 1) * dilation - 1) // stride + 1
        for size, pads, taps, dilation, stride in zip(
            data.shape[2:], (top + bottom, left + right), weight.shape[2:], attrs["dilation"], attrs["strides"],
            strict=True,
        )
    ]  # fmt: skip
    return (data.shape[0], weight.shape[0], *sizes)


def with_stage_layouts(work: Workload, stages: Sequence[Workload]) -> Workload:
    """Return a chain whose operands are stored as its stages' are."""
    layouts = [operand.layout for operand in arranged([stage.inputs for stage in stages])]
    inputs = tuple(replace(each, layout=layout) for each, layout in zip(work.inputs, layouts, strict=True))
    return replace(work, inputs=inputs, outputs=stages[-1].outputs)
