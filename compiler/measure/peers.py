"""Other runtimes to measure beside, each pinned to the same number of threads and fed the same arrays.

A peer's inputs and outputs are bound once, so that a timed run is its computation and nothing else.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...registry import Registry

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Peer:
    """A runtime that holds a model.

    Attributes:
        name: the runtime with its version.
        run: computes once.
        outputs: returns the outputs of the last run, by name.
    """

    name: str
    run: Callable[[], object]
    outputs: Callable[[], dict[str, Array]]


Open = Callable[[Path, Mapping[str, Array], int], Peer]

#: Runtimes by name; a row opens a model file with inputs and a number of threads.
PEERS: Registry[Open] = Registry("runtime to compare with")


def open_peer(name: str, model: Path, inputs: Mapping[str, Array], threads: int) -> Peer:
    """Open a model in another runtime and run it once.

    Raises:
        UserError: there is no such runtime, it is not installed, or it refuses the model.
    """
    row = PEERS[name]
    try:
        peer = row(model, inputs, threads)
        peer.run()
    except ImportError as error:
        raise UserError(f"{name} is not installed: run 'pip install {name}'") from error
    except Exception as error:  # each runtime has exception classes of its own, without a common base
        sentence = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{name} cannot run '{model}': {sentence[0]}") from error
    return peer


@PEERS.register("onnxruntime")
def _onnxruntime(model: Path, inputs: Mapping[str, Array], threads: int) -> Peer:
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, np.ascontiguousarray(array))
    names = [output.name for output in session.get_outputs()]
    for name in names:
        binding.bind_output(name, "cpu")
    return Peer(
        f"onnxruntime {ort.__version__}",
        lambda: session.run_with_iobinding(binding),
        # A copy of all outputs at once crashes on strings.
        lambda: dict(zip(names, (each.numpy() for each in binding.get_outputs()), strict=True)),
    )


@PEERS.register("openvino")
def _openvino(model: Path, inputs: Mapping[str, Array], threads: int) -> Peer:
    return open_openvino(model, inputs, threads, "f32")


def open_openvino(model: Path, inputs: Mapping[str, Array], threads: int, precision: str) -> Peer:
    """Open a model in OpenVINO, in one stream, with a hint of the precision to infer in: "f32" or "bf16"."""
    ov = importlib.import_module("openvino")
    core = ov.Core()
    graph = core.read_model(str(model))
    graph.reshape({name: list(array.shape) for name, array in inputs.items()})
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    compiled = core.compile_model(graph, "CPU", settings)
    request = compiled.create_infer_request()
    for name, array in inputs.items():
        request.set_tensor(name, ov.Tensor(np.ascontiguousarray(array), shared_memory=True))
    names = [output.get_any_name() for output in compiled.outputs]
    version = ov.__version__.split("-")[0]
    return Peer(
        f"openvino {version}",
        request.infer,
        lambda: {name: np.array(request.get_tensor(name).data) for name in names},
    )
