"""Operators that no library can compute, each with the reason and what to do instead.

They are folded where their operands are constant; a row is reached where they are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .....errors import UserError
from ..node import Node
from ..registry import RowFunction, operator

if TYPE_CHECKING:
    from tvm.relax import Expr

_STRINGS = "libraries hold numbers only: turn strings into numbers before the model"
_REASONS: dict[str, str] = {
    "ImageDecoder": "it needs a decoder of every image format: decode images before the model",
    "RegexFullMatch": _STRINGS,
    "StringConcat": _STRINGS,
    "StringNormalizer": _STRINGS,
    "StringSplit": _STRINGS,
}


def _refusal(reason: str) -> RowFunction:
    def convert(node: Node, *operands: Expr | None) -> Expr:
        """A refusal, with its reason."""
        raise UserError(f"{node.op_type} is not supported: {reason}")

    return convert


for _name, _reason in _REASONS.items():
    operator(_name)(_refusal(_reason))
operator("Gradient", domain="ai.onnx.preview.training")(
    _refusal("gradients are a training framework's work: export the graph after differentiation")
)

_SEARCH = "a search calls a decoder as often as its results say: compile the decoder, and search around the library"
_EXPERTS = "export the experts as plain matrix products"
_MICROSOFT: dict[str, str] = {
    "BeamSearch": _SEARCH,
    "DynamicQuantizeLSTM": "leave recurrent layers out of dynamic quantization (op_types_to_quantize)",
    "EPContext": "it holds what another compiler made: export the model without it",
    "GreedySearch": _SEARCH,
    "MoE": _EXPERTS,
    "QMoE": _EXPERTS,
    "Sampling": _SEARCH,
    "Tokenizer": _STRINGS,
    "WhisperBeamSearch": _SEARCH,
}
for _name, _reason in _MICROSOFT.items():
    operator(_name, domain="com.microsoft")(_refusal(_reason))
#: Domains of layouts of onnxruntime's own, and the operators that it writes into files.
_LAYOUTS = {
    "com.microsoft.nchwc": (
        "AveragePool", "Conv", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "ReorderInput", "ReorderOutput",
        "Upsample",
    ),
}  # fmt: skip
for _domain, _names in _LAYOUTS.items():
    for _name in _names:
        operator(_name, domain=_domain)(
            _refusal("onnxruntime optimized the model for one machine: save it with ORT_ENABLE_EXTENDED at most")
        )
