"""Random epilogues for kernels, with a reference that computes them in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from kernel_runner import Array, run_workload

from tilewright.passes.fusion.group import EXPRESSION_LIMIT
from tilewright.targets.target import Target
from tilewright.workload import Attribute, PointwiseProgram, PointwiseStep, TensorType, Workload, attributes

Shape = tuple[int, ...]

_UNARY = ("nn.relu", "nn.gelu", "clip", "sigmoid", "widen")
_BINARY = ("add", "multiply", "maximum", "subtract")

_REFERENCE: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "subtract": np.subtract,
    "nn.relu": lambda x: np.maximum(x, 0),
    "nn.gelu": lambda x: torch.nn.functional.gelu(torch.from_numpy(np.array(x))).numpy(),
    "sigmoid": lambda x: (1 + np.tanh(x / 2)) / 2,
    "clip": lambda x, min, max: np.clip(x, min, max),
    "astype": lambda x, dtype: x,
    "const": lambda value: np.float64(value),
}


@dataclass(frozen=True)
class Epilogue:
    """What follows an anchor: the program, None for nothing, and the types of what it reads besides the anchor."""

    program: PointwiseProgram | None
    operands: tuple[TensorType, ...]


def evaluate(program: PointwiseProgram | None, anchor: Array, operands: Sequence[Array]) -> tuple[Array, float]:
    """Return the result in float64 and the largest magnitude that was met on the way to it."""
    values = [anchor, *[each.astype("float64") for each in operands]]
    for step in program.steps if program else ():
        values.append(_REFERENCE[step.op](*[values[index] for index in step.args], **dict(step.attrs)))
    return values[-1], max(float(np.max(np.abs(each))) for each in values)


@st.composite
def epilogues(draw: Any, shape: Shape) -> Epilogue:
    """Draw an epilogue of a result of this shape: operands of any shape that broadcasts to it, constants, diamonds."""
    names = draw(st.lists(st.sampled_from((*_UNARY, *_BINARY)), max_size=4).filter(_is_short))
    kinds = [
        draw(st.sampled_from(("tensor", "tensor", "const", "anchor"))) if each in _BINARY else "" for each in names
    ]
    operands = tuple(TensorType(draw(_broadcast_to(shape)), "float32") for each in kinds if each == "tensor")
    steps: list[PointwiseStep] = []
    last, used = 0, 0

    def emit(op: str, args: Sequence[int], attrs: Mapping[str, Attribute] | None = None, dtype: str = "float32") -> int:
        steps.append(PointwiseStep(op, tuple(args), dtype, attributes(attrs or {})))
        return len(operands) + len(steps)

    for name, kind in zip(names, kinds, strict=True):
        if kind:
            used += kind == "tensor"
            constant = emit("const", (), {"value": draw(st.sampled_from((-1.5, 0.5, 2.0)))}) if kind == "const" else 0
            other = {"tensor": used, "const": constant, "anchor": 0}[kind]
            last = emit(name, draw(st.permutations((last, other))))
        elif name == "widen":
            wide = emit("astype", (last,), {"dtype": "float64"}, "float64")
            last = emit("astype", (wide,), {"dtype": "float32"})
        else:
            last = emit(name, (last,), {"min": -1.5, "max": 2.5} if name == "clip" else {})
    return Epilogue(PointwiseProgram(1 + len(operands), tuple(steps)) if steps else None, operands)


def _is_short(names: list[str]) -> bool:
    """Return whether fusion makes such a program: it cuts those whose expressions are very long."""
    occurrences = {"nn.gelu": 24, "sigmoid": 24, "maximum": 12}
    return math.prod(occurrences.get(each, 1) for each in names) <= EXPRESSION_LIMIT


@st.composite
def _broadcast_to(draw: Any, shape: Shape) -> Shape:
    rank = draw(st.integers(0, len(shape)))
    return tuple(draw(st.sampled_from((1, size))) for size in shape[len(shape) - rank :])


def exact_array(shape: Shape, seed: int) -> Array:
    """Return float32 multiples of a half up to two: sums of their products are exact in any order."""
    return (np.random.default_rng(seed).integers(-4, 5, shape) / 2).astype("float32")


def assert_kernel_computes(
    kernel: Any,
    work: Workload,
    target: Target,
    anchor: Callable[..., Array],
    out_axes: Shape | None = None,
    tolerance: float = 1e-6,
) -> None:
    """Run a kernel on random operands and compare it with the anchor, in float64, and the epilogue.

    The tolerance is relative to the largest value met, because an epilogue's sums may cancel.

    Args:
        out_axes: the transpose of the result that is stored, where the epilogue comes before it.
        tolerance: the error that the anchor may have, relative to the largest value.
    """
    arrays = [exact_array(each.shape, seed) for seed, each in enumerate(work.inputs)]
    arity = work.anchor_arity
    expected, magnitude = evaluate(
        work.epilogue, anchor(*[each.astype("float64") for each in arrays[:arity]]), arrays[arity:]
    )
    (result,) = run_workload(kernel, work, arrays, target)
    wanted = expected if out_axes is None else expected.transpose(out_axes)
    np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=tolerance * max(1.0, magnitude))
