"""MNN through its module interface, which also runs models with loops.

The converter is called as a function: the command line tool of the same name reports its use over the network.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from tilewright.compiler.measure.peers import Peer

from ..models import Arrays
from .peer import PEERS, Subject, narrow


@PEERS.register("mnn")
def prepare(subject: Subject, inputs: Arrays, threads: int) -> Peer:
    """Convert the ONNX file and load the result."""
    mnn = importlib.import_module("MNN")
    path = subject.folder / "model.mnn"
    if not path.is_file():
        onnx = subject.plain_onnx(inputs)
        words = ["mnnconvert", "-f", "ONNX", "--modelFile", str(onnx), "--MNNModel", str(path)]
        importlib.import_module("_tools").mnnconvert([*words, "--bizCode", "benchmark"])
    if not path.is_file():
        raise RuntimeError("its converter made no file")
    settings = {"backend": "CPU", "precision": "high", "numThread": threads}
    manager = mnn.nn.create_runtime_manager((settings,))
    names = subject.model.outputs
    plain = subject.model.plain_inputs(inputs)
    module = mnn.nn.load_module_from_file(str(path), list(plain), list(names), runtime_manager=manager)
    variables = [_variable(mnn.expr, narrow(array)) for array in plain.values()]
    found: list[np.ndarray] = []

    def run() -> object:
        results = module.forward(variables)
        # Reading a result is what computes it.
        found[:] = [mnn.expr.convert(each, mnn.expr.NCHW).read() for each in results]
        return found

    def outputs(held: Any = manager) -> Arrays:
        # The manager must live as long as the module that runs on it.
        return dict(zip(names, map(np.array, found), strict=True))

    return Peer(f"MNN {mnn.version()}", run, outputs)


def _variable(expr: Any, array: np.ndarray) -> Any:
    kind = expr.int if array.dtype == np.int32 else expr.float
    return expr.const(array, list(array.shape), expr.NCHW, kind)
