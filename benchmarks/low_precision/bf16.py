"""Tensors and weights in bfloat16, beside OpenVINO with the same hint."""

from __future__ import annotations

from tilewright.compiler.measure.peers import Peer, open_openvino

from ..models import Arrays
from ..peers.peer import Subject
from .scheme import SCHEMES, Bar, Scheme


def openvino(subject: Subject, inputs: Arrays, threads: int) -> Peer:
    """Open the model with the hint bf16."""
    return open_openvino(subject.onnx, inputs, threads, "bf16")


SCHEMES.add(
    "bf16",
    Scheme(
        "bf16",
        "tensors and weights in bfloat16",
        {"precision": "bf16"},
        {"openvino": openvino},
        {
            ("resnet50", 1): Bar(1.1, size=0.55), ("resnet50", 2): Bar(1.0, size=0.55),
            ("vit_b16", 1): Bar(1.05, size=0.55), ("vit_b16", 2): Bar(1.0, size=0.55),
            ("bert_base", 1): Bar(1.05, size=0.55), ("bert_base", 2): Bar(1.0, size=0.55),
            ("mobilenet_v2", 1): Bar(1.0, size=0.6), ("mobilenet_v2", 2): Bar(1.0, size=0.6),
        },
    ),
)  # fmt: skip
