"""Tensors and weights in int8: quantized by each tool from the same samples, and onnxruntime's models as they are."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tilewright.compiler.measure.peers import Peer, open_openvino, open_peer

from ..models import Arrays
from ..peers.peer import Subject
from .scheme import SCHEMES, Bar, Scheme

_SAMPLES = 8
_QDQ, _NNCF, _DYNAMIC = "qdq.onnx", "nncf.xml", "dynamic.onnx"
_TRANSFORMERS = frozenset({"bert_base", "vit_b16"})


def samples(inputs: Arrays) -> Iterator[Arrays]:
    """Yield random inputs in the likeness of the given ones: normal floats, integers of the same range."""
    rng = np.random.default_rng(0)
    for _ in range(_SAMPLES):
        yield {
            name: rng.standard_normal(each.shape).astype(each.dtype)
            if each.dtype.kind == "f"
            else rng.integers(each.min(), each.max(), each.shape, each.dtype, endpoint=True)
            for name, each in inputs.items()
        }


def write_all(subject: Subject) -> Path:
    """Quantize with onnxruntime, with NNCF where it is installed, and with ``tilewright quantize``; return the last."""
    from tilewright.optimizer.quantize.job import Request
    from tilewright.optimizer.quantize.run import quantize_model

    write_qdq(subject)
    with suppress(ImportError):  # the peer says so
        _write_nncf(subject)
    data = subject.folder / "samples"
    data.mkdir(exist_ok=True)
    for index, sample in enumerate(samples(subject.model.inputs())):
        np.savez(data / f"{index}.npz", **sample)  # type: ignore[arg-type]
    output = subject.folder / "int8.onnx"
    quantize_model(Request(subject.onnx, output, calibration=str(data)))
    return output


def write_qdq(subject: Subject) -> Path:
    """Quantize statically with onnxruntime: unsigned activations, signed weights with a scale for each channel."""
    quantization: Any = importlib.import_module("onnxruntime.quantization")
    quantization.quantize_static(
        _preprocessed(subject),
        subject.folder / _QDQ,
        _Reader(samples(subject.model.inputs())),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    return subject.folder / _QDQ


def write_dynamic(subject: Subject) -> Path:
    """Quantize with onnxruntime for scales that every run finds anew."""
    quantization: Any = importlib.import_module("onnxruntime.quantization")
    target = subject.folder / _DYNAMIC
    signed = quantization.QuantType.QInt8
    quantization.quantize_dynamic(_preprocessed(subject), target, weight_type=signed, per_channel=True)
    return target


class _Reader:
    """Samples as onnxruntime takes them."""

    def __init__(self, given: Iterator[Arrays]) -> None:
        self._given = given

    def get_next(self) -> Arrays | None:
        """Return the next sample."""
        return next(self._given, None)


def _preprocessed(subject: Subject) -> Path:
    shapes: Any = importlib.import_module("onnxruntime.quantization.shape_inference")
    made = subject.folder / "preprocessed.onnx"
    shapes.quant_pre_process(subject.onnx, made, skip_symbolic_shape=True)
    return made


def _write_nncf(subject: Subject) -> None:
    nncf, ov = importlib.import_module("nncf"), importlib.import_module("openvino")
    inputs = subject.model.inputs()
    graph = ov.Core().read_model(str(subject.onnx))
    graph.reshape({name: list(array.shape) for name, array in inputs.items()})
    kind = nncf.ModelType.TRANSFORMER if subject.model.name in _TRANSFORMERS else None
    made = nncf.quantize(
        graph, nncf.Dataset(list(samples(inputs))), subset_size=_SAMPLES, model_type=kind,
        preset=nncf.QuantizationPreset.MIXED,
    )  # fmt: skip
    ov.save_model(made, str(subject.folder / _NNCF), compress_to_fp16=False)


def _onnxruntime(file: str) -> Any:
    def prepare(subject: Subject, inputs: Arrays, threads: int) -> Peer:
        """Open what onnxruntime quantized."""
        return open_peer("onnxruntime", subject.folder / file, inputs, threads)

    return prepare


def openvino(subject: Subject, inputs: Arrays, threads: int) -> Peer:
    """Open what NNCF quantized."""
    if not (subject.folder / _NNCF).is_file():
        raise ImportError("nncf")
    return open_openvino(subject.folder / _NNCF, inputs, threads, "f32")


_BARS = {
    ("resnet50", 1): Bar(1.05, own=2.5, size=0.27),
    ("mobilenet_v2", 1): Bar(1.15, size=0.3),
    ("bert_base", 1): Bar(1.08, size=0.27),
}

SCHEMES.add(
    "int8",
    Scheme(
        "int8",
        "int8 by each runtime's own quantizer",
        {},
        {"onnxruntime": _onnxruntime(_QDQ), "openvino": openvino},
        _BARS,
        write_all,
        as_exact=False,
    ),
)
SCHEMES.add(
    "int8-qdq",
    Scheme(
        "int8-qdq",
        "onnxruntime's quantized models as they are",
        {},
        {"onnxruntime": _onnxruntime(_QDQ)},
        _BARS,
        write_qdq,
        as_exact=False,
    ),
)
SCHEMES.add(
    "int8-dynamic",
    Scheme(
        "int8-dynamic",
        "matrix products in int8 whose scales every run finds anew, as onnxruntime writes them",
        {},
        {"onnxruntime": _onnxruntime(_DYNAMIC)},
        {("bert_base", 1): Bar(1.0, size=0.27)},
        write_dynamic,
        as_exact=False,
    ),
)
