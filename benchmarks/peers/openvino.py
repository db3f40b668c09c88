"""OpenVINO's CPU plug-in in one stream; its default of bfloat16 on CPUs that have it is turned off."""

from __future__ import annotations

from tilewright.compiler.measure.peers import Peer, open_peer

from ..models import Arrays
from .peer import PEERS, Subject


@PEERS.register("openvino")
def prepare(subject: Subject, inputs: Arrays, threads: int) -> Peer:
    """Open the ONNX file."""
    return open_peer("openvino", subject.onnx, inputs, threads)
