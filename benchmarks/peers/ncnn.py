"""ncnn, its model converted from torch by pnnx.

Tensors of ncnn have no batch: of a batch, one sample is run after the other.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from tilewright.compiler.measure.peers import Peer

from ..models import Arrays
from .peer import PEERS, Subject, narrow

_NARROW_FLOATS = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage")


@PEERS.register("ncnn")
def prepare(subject: Subject, inputs: Arrays, threads: int) -> Peer:
    """Convert the torch module and load the result."""
    ncnn = importlib.import_module("ncnn")
    plain = subject.model.plain_inputs(inputs)
    weights = subject.folder / "model.ncnn.bin"
    if not weights.is_file():
        _convert(subject, plain)
    net = ncnn.Net()
    net.opt.num_threads = threads
    for option in _NARROW_FLOATS:
        setattr(net.opt, option, False)
    if net.load_param(str(weights.with_suffix(".param"))) or net.load_model(str(weights)):
        raise RuntimeError("it cannot load what pnnx made of the model")
    ports, names = net.input_names(), net.output_names()
    samples = [[ncnn.Mat(narrow(array[row])).clone() for array in plain.values()] for row in range(subject.model.batch)]
    found: list[list[Any]] = []

    def run() -> object:
        found[:] = [_extract(net, dict(zip(ports, sample, strict=True)), names) for sample in samples]
        return found

    def outputs() -> Arrays:
        columns = (np.stack([np.array(mat) for mat in column]) for column in zip(*found, strict=True))
        return dict(zip(subject.model.outputs, columns, strict=True))

    return Peer(f"ncnn {ncnn.__version__}", run, outputs)


def _extract(net: Any, inputs: dict[str, Any], names: list[str]) -> list[Any]:
    extractor = net.create_extractor()
    for name, mat in inputs.items():
        extractor.input(name, mat)
    results = [extractor.extract(name) for name in names]
    if any(status for status, _ in results):
        raise RuntimeError("its extractor fails")
    return [mat for _, mat in results]


def _convert(subject: Subject, inputs: Arrays) -> None:
    import torch

    pnnx = importlib.import_module("pnnx")
    sample = tuple(torch.from_numpy(array[:1]) for array in inputs.values())
    module = subject.plain_module()
    with torch.no_grad():
        pnnx.export(module, str(subject.folder / "model.pt"), sample, fp16=False, check_trace=False)
    if not (subject.folder / "model.ncnn.bin").is_file():
        raise RuntimeError("pnnx made no model of it")
