"""Tensors and weights in float16, which x86 stores and does not compute, beside onnxruntime in single precision.

No peer stores float16 there: OpenVINO takes the hint f16 for bfloat16 where it has that.
"""

from __future__ import annotations

from ..peers import PEERS
from .scheme import SCHEMES, Bar, Scheme

SCHEMES.add(
    "fp16",
    Scheme(
        "fp16",
        "tensors and weights in float16",
        {"precision": "fp16"},
        {"onnxruntime": PEERS["onnxruntime"]},
        {(model, 1): Bar(1.0, own=0.9, size=0.6) for model in ("resnet50", "mobilenet_v2", "bert_base")},
        as_exact=False,
    ),
)
