"""`tilewright inspect` of ONNX files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from cli.conftest import Call
from onnx import TensorProto, helper, numpy_helper


def _save(nodes: list[onnx.NodeProto], path: str = "m.onnx", domains: tuple[str, ...] = ()) -> None:
    graph = helper.make_graph(
        nodes,
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, None])],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(each, 1) for each in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="hand"), path)


def test_signature_weights_and_operators(call: Call, tiny_model: Path) -> None:
    data = json.loads(call("inspect", tiny_model, "--json").out)
    assert [(each["name"], each["shape"], each["dtype"]) for each in data["inputs"]] == [
        ("x", [2, 3], "float32"),
        ("input.ids", [4], "int64"),
    ]
    assert [each["name"] for each in data["outputs"]] == ["y", "total", "positive"]
    assert data["opsets"] == {"": 17}
    assert (data["weights"], data["weight_bytes"]) == (3, 4 * 3 + 4 + 8)
    assert dict(data["operators"]) == {"Mul": 1, "Add": 1, "ReduceSum": 1, "Greater": 1}
    assert data["unsupported"] == []


def test_unsupported_operators_are_marked_and_located(call: Call) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Frobnicate", ["a"], ["b"], name="the_odd_one", domain="com.example"),
        helper.make_node("Frobnicate", ["b"], ["c"], domain="com.example"),
    ]
    _save(nodes, domains=("com.example",))
    data = json.loads(call("inspect", "m.onnx", "--json").out)
    assert data["unsupported"] == [["com.example::Frobnicate", "the_odd_one"], ["com.example::Frobnicate", "c"]]
    assert data["inputs"][0]["shape"] == ["batch", 3, "?"]
    out = call("inspect", "m.onnx").out
    assert "x: float32 [batch, 3, ?]" in out
    assert "2 of 3 nodes" in out
    assert "the_odd_one" in out


def test_names_cannot_steer_the_terminal(call: Call) -> None:
    _save([helper.make_node("Relu", ["x"], ["y\x1b[2J"], name="\x1b]0;title\x07")])
    out = call("inspect", "m.onnx").out
    assert "\x1b" not in out
    assert r"y\x1b[2J" in out


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b"hello", "not an ONNX"),
    ],
)
def test_what_is_no_model_is_one_sentence(call: Call, content: bytes | None, part: str) -> None:
    if content is not None:
        Path("m.onnx").write_bytes(content)
    sentence = call("inspect", "m.onnx").sentence
    assert part in sentence
    assert "m.onnx" in sentence


def test_a_folder_is_one_sentence(call: Call) -> None:
    assert "directory" in call("inspect", ".").sentence


def test_check_is_for_libraries(call: Call, tiny_model: Path) -> None:
    assert "--check is for libraries" in call("inspect", tiny_model, "--check").sentence


def test_quantized_nodes_that_are_computed_in_floats_are_listed(call: Call) -> None:
    """A product of two activations is; the layer before it is computed on bytes."""
    grid = ["s", "z"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *grid], ["q"]),
        helper.make_node("DequantizeLinear", ["q", *grid], ["d"]),
        helper.make_node("DequantizeLinear", ["w", *grid[:1]], ["v"]),
        helper.make_node("MatMul", ["d", "v"], ["a"], name="layer"),
        helper.make_node("QuantizeLinear", ["a", *grid], ["aq"]),
        helper.make_node("DequantizeLinear", ["aq", *grid], ["ad"]),
        helper.make_node("Transpose", ["ad"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["ad", "t"], ["y"], name="scores"),
    ]
    constants = [
        numpy_helper.from_array(np.float32(0.1), "s"),
        numpy_helper.from_array(np.uint8(3), "z"),
        numpy_helper.from_array(np.ones((8, 16), np.int8), "w"),
    ]
    graph = helper.make_graph(
        nodes,
        "pairs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 4])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "m.onnx")
    expected = [
        ["MatMul 'scores'", "its second operand is no constant: products of two activations are computed in floats"]
    ]
    assert json.loads(call("inspect", "m.onnx", "--json").out)["in_floats"] == expected
    call("compile", "m.onnx", "-o", "m.so")
    assert json.loads(call("inspect", "m.so", "--json").out)["in_floats"] == expected
    assert "MatMul 'scores'" in call("inspect", "m.so").out
