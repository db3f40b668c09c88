"""Operators that are refused name the node, the reason and a remedy."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import import_model, model_of, normal

from tilewright.errors import UserError


def test_images_are_decoded_before_the_model() -> None:
    data = np.zeros(100, np.uint8)
    node = helper.make_node("ImageDecoder", ["x"], ["y"], name="decode")
    graph = model_of([helper.make_node("Identity", ["x"], ["y"])], {"x": data}, opset=20)
    graph.graph.node[0].CopyFrom(node)
    graph.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", onnx.TensorProto.UINT8, ["h", "w", "c"]))
    with pytest.raises(UserError, match="node ImageDecoder 'decode': .* decode images before the model"):
        import_model(graph)


SEARCH, EXPERTS = "search around the library", "plain matrix products"
REFUSED = {
    "com.microsoft": {
        "BeamSearch": SEARCH, "GreedySearch": SEARCH, "Sampling": SEARCH, "WhisperBeamSearch": SEARCH,
        "MoE": EXPERTS, "QMoE": EXPERTS, "DynamicQuantizeLSTM": "op_types_to_quantize", "EPContext": "without it",
        "Tokenizer": "turn strings into numbers before the model",
    },
    "com.microsoft.nchwc": dict.fromkeys(("Conv", "ReorderInput", "ReorderOutput"), "save it with ORT_ENABLE_EXTENDED"),
}  # fmt: skip


@pytest.mark.parametrize(("domain", "name"), [(domain, name) for domain in REFUSED for name in REFUSED[domain]])
def test_other_domains(domain: str, name: str) -> None:
    model = model_of([helper.make_node("Neg", ["x"], ["y"])], {"x": normal(2)})
    model.graph.node[0].CopyFrom(helper.make_node(name, ["x"], ["y"], domain=domain))
    model.opset_import.append(helper.make_opsetid(domain, 1))
    with pytest.raises(UserError, match=f"node {name} .*: {name} is not supported: .*{REFUSED[domain][name]}"):
        import_model(model)


#: Each with attributes that it must have.
STRINGS = {
    "CategoryMapper": {"cats_int64s": [1], "cats_strings": ["a"]},
    "StringConcat": {},
    "StringNormalizer": {},
    "StringSplit": {},
    "RegexFullMatch": {"pattern": "a*"},
}


@pytest.mark.parametrize("name", STRINGS)
def test_strings_that_come_in(name: str) -> None:
    domain = "ai.onnx.ml" if name == "CategoryMapper" else ""
    names = ["x", "x"] if name == "StringConcat" else ["x"]
    results = {"StringSplit": 2}.get(name, 1)
    node = helper.make_node(name, names, [f"y{at}" for at in range(results)], domain=domain, **STRINGS[name])
    kind = {"CategoryMapper": 7, "RegexFullMatch": 9}.get(name, 8)
    values = [helper.make_tensor_value_info(f"y{at}", (kind, 7)[at], None) for at in range(results)]
    graph = helper.make_graph([node], "test", [helper.make_tensor_value_info("x", 8, [3])], values)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 1)]
    with pytest.raises(UserError, match="input 'x' holds strings"):
        import_model(helper.make_model(graph, opset_imports=opsets, ir_version=10))


@pytest.mark.parametrize("name", ["DictVectorizer", "CastMap"])
def test_dictionaries_that_come_in(name: str) -> None:
    attributes = {"string_vocabulary": ["a", "b"]} if name == "DictVectorizer" else {}
    node = helper.make_node(name, ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    kind = helper.make_map_type_proto(8 if name == "DictVectorizer" else 7, helper.make_tensor_type_proto(1, []))
    graph = helper.make_graph(
        [node], "test", [helper.make_value_info("x", kind)], [helper.make_tensor_value_info("y", 1, [1, 2])]
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    with pytest.raises(UserError, match="input 'x' is a map, not a tensor"):
        import_model(helper.make_model(graph, opset_imports=opsets, ir_version=10))


def test_gradients() -> None:
    node = helper.make_node("Gradient", ["x"], ["y"], domain="ai.onnx.preview.training", xs=["x"], y="x")
    model = model_of([helper.make_node("Neg", ["x"], ["y"])], {"x": normal(2)})
    model.graph.node[0].CopyFrom(node)
    model.opset_import.append(helper.make_opsetid("ai.onnx.preview.training", 1))
    with pytest.raises(UserError, match="export the graph after differentiation"):
        import_model(model)
