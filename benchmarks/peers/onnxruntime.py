"""onnxruntime with all of its graph optimizations and bound inputs and outputs."""

from __future__ import annotations

from tilewright.compiler.measure.peers import Peer, open_peer

from ..models import Arrays
from .peer import PEERS, Subject


@PEERS.register("onnxruntime")
def prepare(subject: Subject, inputs: Arrays, threads: int) -> Peer:
    """Open the ONNX file."""
    return open_peer("onnxruntime", subject.onnx, inputs, threads)
