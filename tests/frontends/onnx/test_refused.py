"""Operators that are refused name the node, the reason and a remedy."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import import_model, model_of

from tilewright.errors import UserError


def test_images_are_decoded_before_the_model() -> None:
    data = np.zeros(100, np.uint8)
    node = helper.make_node("ImageDecoder", ["x"], ["y"], name="decode")
    graph = model_of([helper.make_node("Identity", ["x"], ["y"])], {"x": data}, opset=20)
    graph.graph.node[0].CopyFrom(node)
    graph.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", onnx.TensorProto.UINT8, ["h", "w", "c"]))
    with pytest.raises(UserError, match="node ImageDecoder 'decode': .* decode images before the model"):
        import_model(graph)
