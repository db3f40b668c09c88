"""Tensors and weights in float16, which x86 stores and does not compute, beside OpenVINO with the same hint."""

from __future__ import annotations

from tilewright.compiler.measure.peers import Peer, open_openvino

from ..models import Arrays
from ..peers.peer import Subject
from .scheme import SCHEMES, Bar, Scheme


def openvino(subject: Subject, inputs: Arrays, threads: int) -> Peer:
    """Open the model with the hint f16; where the processor has no arithmetic for it that means single precision."""
    return open_openvino(subject.onnx, inputs, threads, "f16")


SCHEMES.add(
    "fp16",
    Scheme(
        "fp16",
        "tensors and weights in float16",
        {"precision": "fp16"},
        {"openvino": openvino},
        {(model, 1): Bar(1.0, own=0.9, size=0.6) for model in ("resnet50", "mobilenet_v2", "bert_base")},
        as_exact=False,
    ),
)
