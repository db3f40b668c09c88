"""What a workload costs: floating-point operations and bytes of its operands."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..conv_chain import stages_of
from ..registry import Registry
from ..workload import TensorType, Workload

_ANCHOR_FLOPS: Registry[Callable[[Workload], float]] = Registry("anchor cost")


@_ANCHOR_FLOPS.register("conv2d")
def _conv2d(work: Workload) -> float:
    _, channels_per_group, height, width = work.inputs[1].shape
    return 2.0 * math.prod(work.output.shape) * channels_per_group * height * width


@_ANCHOR_FLOPS.register("conv2d_chain")
def _conv2d_chain(work: Workload) -> float:
    return sum(_conv2d(stage) for stage in stages_of(work))


@_ANCHOR_FLOPS.register("conv2d_transpose")
def _conv2d_transpose(work: Workload) -> float:
    _, channels_per_group, height, width = work.inputs[1].shape
    return 2.0 * math.prod(work.inputs[0].shape) * channels_per_group * height * width


@_ANCHOR_FLOPS.register("matmul", "matmul_nbits")
def _matmul(work: Workload) -> float:
    depth: int = work.inputs[0].shape[work.attr("a_axes")[-1]]
    return 2.0 * math.prod(work.output.shape) * depth


@_ANCHOR_FLOPS.register("pool2d")
def _pool2d(work: Workload) -> float:
    return float(math.prod(work.output.shape) * math.prod(work.attr("window")))


@_ANCHOR_FLOPS.register("resample")
def _resample(work: Workload) -> float:
    return 2.0 * math.prod(work.output.shape) * work.inputs[1].shape[0] * work.inputs[3].shape[0]


@_ANCHOR_FLOPS.register("reduce")
def _reduce(work: Workload) -> float:
    return float(math.prod(work.inputs[0].shape))


@_ANCHOR_FLOPS.register("softmax")
def _softmax(work: Workload) -> float:
    return 5.0 * math.prod(work.output.shape)


@_ANCHOR_FLOPS.register("layer_norm", "rms_norm")
def _layer_norm(work: Workload) -> float:
    return 8.0 * math.prod(work.output.shape)


@_ANCHOR_FLOPS.register("recurrent")
def _recurrent(work: Workload) -> float:
    units: int = work.inputs[0].shape[-1]
    return 2.0 * math.prod(work.inputs[0].shape) * units


@_ANCHOR_FLOPS.register("tree_ensemble")
def _tree_ensemble(work: Workload) -> float:
    """Tests and additions of a row: a walk through every tree."""
    leaves = work.anchor_arity - 1
    complete = work.attr("strategy") == "complete"
    trees: int = work.inputs[leaves].shape[0] if complete else work.inputs[leaves - 1].shape[1]
    return float(work.inputs[0].shape[0] * trees * (work.attr("depth") + 1))


@_ANCHOR_FLOPS.register("attention")
def _attention(work: Workload) -> float:
    *_, depth_axis, keys_axis = work.attr("k_axes")
    depth: int = work.inputs[1].shape[depth_axis]
    keys: int = work.inputs[1].shape[keys_axis]
    columns: int = work.inputs[2].shape[work.attr("v_axes")[-1]]
    scores = math.prod(work.output.shape) // max(columns, 1) * keys
    return scores * (2.0 * depth + 2.0 * columns + 5.0)


def flops(work: Workload) -> float:
    """Return the floating-point operations of one run; a multiply-add counts two, an epilogue step one an element.

    Of shapes that only a run knows, the largest count.
    """
    work = work.at_bounds()
    anchor = _ANCHOR_FLOPS.get(work.family)
    steps = [step for step in work.epilogue.steps if step.args] if work.epilogue else []
    return (anchor(work) if anchor else 0.0) + float(len(steps) * math.prod(work.outputs[0].shape))


def operand_bytes(work: Workload) -> float:
    """Return the bytes of all inputs and outputs as stored."""
    work = work.at_bounds()
    return float(sum(_stored_bytes(each) for each in (*work.inputs, *work.outputs)))


def _stored_bytes(operand: TensorType) -> int:
    itemsize = np.dtype(operand.dtype).itemsize
    return math.prod(operand.stored_shape) * itemsize
