"""What quantizing a model did to its accuracy, size and speed."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from ...compiler.api import CompileRequest, compile_model
from ...compiler.measure.bench import bench
from ...compiler.measure.interleave import Plan
from ...errors import UserError
from ..data import Sample
from ..difference import differences
from ..executor import Executor
from ..graph import Graph, copy_of
from .accuracy import Step
from .layers import Layer, attribute, find_layers

#: How many multiply-adds of a precision take the time of one in float32, where the processor has instructions for it.
_SPEED = {"float32": 1.0, "bfloat16": 2.0, "int8": 4.0, "int8 weights": 1.0, "int4 weights": 1.0}


@dataclass(frozen=True)
class LayerReport:
    """One layer of the float model.

    Attributes:
        precision: "int8", "int8 weights" or "int4 weights" (computed in floats), or "float32".
        multiply_adds: of one run.
        sqnr: signal to quantization noise of its output in decibels, with the errors of the layers before it.
    """

    name: str
    operator: str
    output: str
    precision: str
    multiply_adds: int
    sqnr: float


@dataclass(frozen=True)
class Report:
    """The outcome.

    Attributes:
        before, after: the metric of the float and of the quantized model; None where there were no samples.
        float_bytes, quantized_bytes: sizes of the files.
        layers: the layers, those with most noise first.
        reverted: layers given more precision, and why.
        steps: the trials of a search.
        float_seconds, quantized_seconds: measured latency of the compiled libraries; None when it was not measured.
        written: the file; None when the bound did not hold.
    """

    model: str
    method: str
    metric: str
    before: float | None
    after: float | None
    float_bytes: int
    quantized_bytes: int
    layers: tuple[LayerReport, ...]
    reverted: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    float_seconds: float | None = None
    quantized_seconds: float | None = None
    written: Path | None = None

    @property
    def estimated_speedup(self) -> float:
        """How many times as fast the layers' arithmetic can be, by their multiply-adds alone."""
        total = sum(layer.multiply_adds for layer in self.layers)
        scaled = sum(layer.multiply_adds / _SPEED[layer.precision] for layer in self.layers)
        return total / scaled if scaled else 1.0


def layer_reports(
    reference: ModelProto, quantized: ModelProto, path: Path, samples: Sequence[Sample]
) -> tuple[LayerReport, ...]:
    """Return the layers of a float model and how well the quantized one reproduces their outputs, worst first.

    Without samples the noise and the multiply-adds are unknown: not a number, and zero.
    """
    layers = find_layers(Graph(copy_of(reference), path))
    names = {output: output for layer in layers for output in [layer.output]}
    found = differences(reference, quantized, names, samples) if samples else {}
    shapes = _shapes(reference, list(names), samples)
    producers = {output: node for node in quantized.graph.node for output in node.output}
    kinds = {tensor.name: tensor.data_type for tensor in quantized.graph.initializer}
    reports = []
    for layer in layers:
        macs = _multiply_adds(layer, shapes[layer.output]) if layer.output in shapes else 0
        sqnr = found[layer.output].sqnr if layer.output in found else float("nan")
        precision = _precision(layer, producers, kinds)
        reports.append(LayerReport(layer.name, layer.node.op_type, layer.output, precision, macs, sqnr))
    return tuple(sorted(reports, key=lambda each: (np.isnan(each.sqnr), each.sqnr)))


def _shapes(model: ModelProto, names: list[str], samples: Sequence[Sample]) -> dict[str, tuple[int, ...]]:
    if not samples:
        return {}
    return {name: value.shape for name, value in Executor(model, names)(samples[0].inputs).items()}


def _multiply_adds(layer: Layer, shape: tuple[int, ...]) -> int:
    # Every output element adds up the weights of its channel; a transposed convolution spreads inputs instead.
    outputs = math.prod(shape)
    per_channel = layer.weight.size // layer.weight.shape[layer.axis]
    if layer.node.op_type == "ConvTranspose":
        return int(per_channel * outputs // math.prod(attribute(layer.node, "strides", [1])))
    batches = math.prod(layer.weight.shape[:-2]) if layer.node.op_type == "MatMul" else 1
    return int(per_channel // batches * outputs)


def _precision(layer: Layer, producers: Mapping[str, NodeProto], kinds: Mapping[str, int]) -> str:
    node = producers.get(layer.output)
    if node is None or node.op_type != layer.node.op_type:
        return "int8"
    read = [producers.get(name) for name in node.input[:2]]
    # A weight that a table of embeddings is, too, is turned on the way.
    while read[1] is not None and read[1].op_type == "Transpose":
        read[1] = producers.get(read[1].input[0])
    data, weight = (getattr(each, "op_type", "") == "DequantizeLinear" for each in read)
    if not weight:
        return "float32"
    if data:
        return "int8"
    assert read[1] is not None
    return "int4 weights" if kinds.get(read[1].input[0]) == TensorProto.INT4 else "int8 weights"


def measure_latency(one: Path, other: Path) -> tuple[float, float]:
    """Compile two models for this machine and return their median latencies on one thread, in seconds.

    Raises UserError when one of them cannot be compiled, or has dimensions that only a run knows.
    """
    with tempfile.TemporaryDirectory(prefix="tilewright-") as folder:
        seconds = []
        for index, path in enumerate((one, other)):
            artifact = compile_model(CompileRequest(path))
            if artifact is None:
                raise UserError(f"{path}: was not compiled")
            library = artifact.save(Path(folder) / f"{index}.so")
            seconds.append(bench(library, model=path, plan=Plan(seconds=1.0)).standings[0].latency.median)
        return seconds[0], seconds[1]
