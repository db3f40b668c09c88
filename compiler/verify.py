"""Verify: does a compiled library compute what onnxruntime computes?"""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dim_text import evaluate
from ..errors import UserError
from ..runtime import Model, load
from ..signature import TensorSpec
from .index_bounds import index_bounds
from .measure.difference import largest_difference, largest_magnitude
from .measure.peers import open_peer
from .package.artifact import Artifact
from .tensors import make_tensors

Array = NDArray[np.generic]

#: What rounding may do to a network's output, relative to its largest element, by the element type of the output.
_RELATIVE = {"float64": 1e-5, "float32": 1e-5, "float16": 1e-2}
#: What rounding of the tensors between kernels may do besides, by the precision that a library computes in.
_LOW = {"bf16": 5e-2, "fp16": 1e-2}
_ABSOLUTE = 1e-7
#: A relative error below this may come from rounding; above it something is wrong.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Tolerance:
    """How far an output may lie from the reference: atol + rtol * max |reference|; integers must be equal.

    Attributes:
        rtol, atol: None for the default of the output's element type and the precision.
        precision: what the library computes in.
    """

    rtol: float | None = None
    atol: float | None = None
    precision: str = "fp32"

    def limit(self, reference: Array, dtype: str) -> float:
        """Return the largest absolute error allowed."""
        usual = max(_RELATIVE[dtype], _LOW.get(self.precision, 0.0)) if dtype in _RELATIVE else 0.0
        rtol = usual if self.rtol is None else self.rtol
        atol = _ABSOLUTE if self.atol is None else self.atol
        return atol + rtol * largest_magnitude(reference)


@dataclass(frozen=True)
class OutputError:
    """How far one output lies from the reference.

    Attributes:
        absolute: the largest absolute error; infinite where NaN or infinities do not match.
        relative: that error over the largest magnitude of the reference.
        limit: the largest absolute error allowed.
    """

    name: str
    absolute: float
    relative: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the output is near enough."""
        return self.absolute <= self.limit


def compare(name: str, got: Array, reference: Array, tolerance: Tolerance) -> OutputError:
    """Compare an output with its reference; a wrong shape or element type is an infinite error."""
    limit = tolerance.limit(reference, str(reference.dtype)) if reference.dtype.kind == "f" else 0.0
    if reference.dtype.kind == "O":
        reference = reference.astype(got.dtype)
    if got.shape != reference.shape or got.dtype != reference.dtype:
        return OutputError(name, np.inf, np.inf, limit)
    if reference.dtype.kind in "UO":
        wrong = 0.0 if np.array_equal(got, reference) else np.inf
        return OutputError(name, wrong, wrong, 0.0)
    absolute = largest_difference(got, reference)
    scale = largest_magnitude(reference)
    return OutputError(name, absolute, absolute / scale if scale else absolute, limit)


def verify(library: Path, model: Path, tolerance: Tolerance, *, seed: int = 0) -> list[OutputError]:
    """Run a library and its model on the same random inputs and compare every output with onnxruntime's.

    The library runs with one thread and with one for every processor; the larger error counts. Sizes that differ from
    run to run are the largest, then half of them, then one, as far as the library takes them.

    Raises UserError when onnxruntime is not installed or refuses the model, or this machine cannot run the library.
    """
    with load(library) as several, several.new_instance(threads=1) as single:
        runs: list[list[OutputError]] = []
        for specs in sizes_to_try(several.inputs):
            inputs = make_tensors(specs, "random", seed, index_bounds(model))
            try:
                several.bind(inputs)
            except UserError:
                if not runs:
                    raise
                continue  # below the least size
            reference = open_peer("onnxruntime", model, inputs, several.threads).outputs()
            runs += [compare_all(_run_poisoned(each, inputs), reference, tolerance) for each in (single, several)]
        return [max(errors, key=lambda error: error.absolute) for errors in zip(*runs, strict=True)]


def sizes_to_try(inputs: Sequence[TensorSpec]) -> Iterator[list[TensorSpec]]:
    """Yield a loaded library's inputs with the largest sizes, with half of them, and with ones."""
    most = {
        dim: size
        for spec in inputs
        for dim, size in zip(spec.shape, spec.largest_shape, strict=True)
        if isinstance(dim, str) and dim.isidentifier()
    }
    tried = [most]
    for sizes in ({name: -(-size // 2) for name, size in most.items()}, dict.fromkeys(most, 1)):
        if sizes not in tried:
            tried.append(sizes)
    for sizes in tried:
        yield [TensorSpec(spec.name, _at(spec, sizes), spec.dtype) for spec in inputs]


def _at(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...]:
    def leaf(node: ast.expr) -> int | None:
        return sizes[node.id] if isinstance(node, ast.Name) else None

    return tuple(evaluate(dim, leaf) if isinstance(dim, str) else dim for dim in spec.shape)


def _run_poisoned(model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Run into buffers full of NaN (integers: -1): what a kernel forgets to write must not pass for a result."""
    call = model.bind(inputs)
    for array in call.outputs.values():
        array.reshape(-1).view(np.uint8).fill(0xFF)
    return dict(call().items())


def verify_artifact(artifact: Artifact, model: Path, tolerance: Tolerance) -> list[OutputError]:
    """Verify a compiled model that was not saved yet, as :func:`verify` does, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="tilewright-") as folder:
        return verify(artifact.save(Path(folder) / "model.so"), model, tolerance)


def compare_all(got: Mapping[str, Any], reference: Mapping[str, Any], tolerance: Tolerance) -> list[OutputError]:
    """Compare outputs by name, in the reference's order; an output that is missing is an infinite error."""
    return [
        compare(name, got[name], array, tolerance) if name in got else OutputError(name, np.inf, np.inf, 0.0)
        for name, array in reference.items()
    ]


def require_passed(model: Path, errors: list[OutputError]) -> None:
    """Raise UserError naming the worst output when one lies too far from the reference."""
    failed = [each for each in errors if not each.passed]
    if failed:
        worst = max(failed, key=lambda each: each.relative)
        near = "; --accuracy exact comes nearer, a larger --rtol allows it" if worst.relative < _ROUNDING else ""
        raise UserError(
            f"{model}: the library does not compute what onnxruntime computes: {len(failed)} of {len(errors)} "
            f"output(s) differ, '{worst.name}' by {worst.absolute:.3g} where {worst.limit:.3g} is allowed "
            f"({worst.relative:.3g} of its largest element){near}; nothing was written"
        )
