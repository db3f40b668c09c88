"""The methods of quantization, by name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from onnx import ModelProto

from ...registry import Registry
from .accuracy import Search, search, sensitivities
from .bfloat16 import with_bfloat16
from .dynamic import quantize_dynamically
from .folding import folded_graph
from .job import Job, Result
from .weights import quantize_weights, weight_notes


@dataclass(frozen=True)
class Method:
    """A way to quantize.

    Attributes:
        line: what it does, for the help.
        needs_data: whether it needs calibration samples.
        run: does it.
        bounded: whether the result has to keep the request's bound.
    """

    line: str
    needs_data: bool
    run: Callable[[Job], Result]
    bounded: bool = False


METHODS: Registry[Method] = Registry("quantization method")


def _default(job: Job) -> Result:
    prepared = job.prepared
    return Result(prepared.quantized(embeddings=True), prepared.model)


def _accuracy_aware(job: Job) -> Result:
    found = _search(job, job.prepared.quantized)
    floats = [name for name, _ in found.reverted]
    return Result(
        job.prepared.quantized(floats),
        job.prepared.model,
        reverted=_reasons(found, "kept in float32"),
        steps=found.steps,
        met=found.met,
    )


def _mixed(job: Job) -> Result:
    def build(names: Collection[str]) -> ModelProto:
        return with_bfloat16(job.prepared.quantized(names), names)

    found = _search(job, build)
    names = [name for name, _ in found.reverted]
    return Result(
        job.prepared.quantized(names),
        job.prepared.model,
        judged=build(names),
        reverted=_reasons(found, "left for bfloat16"),
        steps=found.steps,
        met=found.met,
        notes=("the layers left for bfloat16 are floats in the file: compile it with --precision bf16",)
        if names
        else (),
    )


def _search(job: Job, build: Callable[[Collection[str]], ModelProto]) -> Search:
    job.tell("finding what every layer costs")
    ranking = sensitivities(job.prepared, job.calibration)
    job.tell("searching for the layers to revert")
    return search(ranking, build, job.judge, job.request.max_drop)


def _reasons(found: Search, what: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, f"{what}: alone it changes the outputs by {100 * error**0.5:.3g} %") for name, error in found.reverted
    )


def _weights_only(job: Job) -> Result:
    request = job.request
    graph, layers = folded_graph(job.model, request.model)
    samples = job.calibration if request.rounding == "gptq" else ()
    low = quantize_weights(job.model, request.model, request.bits, request.group, samples)
    return Result(low, graph.finish(), notes=weight_notes(layers, request.bits, request.group))


def _dynamic(job: Job) -> Result:
    reference = folded_graph(job.model, job.request.model)[0].finish()
    return Result(quantize_dynamically(job.model, job.request.model), reference)


METHODS.add("default", Method("every convolution and matrix product with a constant weight in int8", True, _default))
METHODS.add(
    "accuracy-aware",
    Method(
        "int8, but the layers that cost most go back to float32 until --max-drop holds", True, _accuracy_aware, True
    ),
)
METHODS.add(
    "weights-only", Method("weights in int8 or int4, activations in floats; needs no data", False, _weights_only)
)
METHODS.add("dynamic", Method("matrix products in int8, scaled anew in every run; needs no data", False, _dynamic))
METHODS.add("mixed", Method("int8, but the layers that cost most are left for bfloat16", True, _mixed, True))
