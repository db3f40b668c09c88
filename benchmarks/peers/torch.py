"""torch.compile with its inductor, the weights frozen into the compiled code."""

from __future__ import annotations

import os

import numpy as np

from tilewright.compiler.measure.peers import Peer

from ..models import Arrays, as_tuple
from .peer import PEERS, Subject


@PEERS.register("torch")
def prepare(subject: Subject, inputs: Arrays, threads: int) -> Peer:
    """Build the module anew and compile it."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(subject.folder.resolve() / f"inductor-{threads}")
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    import torch
    from torch._inductor import config

    config.freezing = True
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    compiled = torch.compile(as_tuple(subject.model.build()), dynamic=False)
    tensors = [torch.from_numpy(array) for array in inputs.values()]
    found: list[tuple[torch.Tensor, ...]] = []

    def run() -> object:
        with torch.no_grad():
            found[:] = [compiled(*tensors)]
        return found

    def outputs() -> Arrays:
        return dict(zip(subject.model.outputs, (np.array(each) for each in found[0]), strict=True))

    return Peer(f"torch.compile {torch.__version__.split('+')[0]}", run, outputs)
