"""Malformed and hostile graphs end in one sentence, at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from control_flow_models import BOOL, FLOAT, INT64, body, value
from onnx import FunctionProto, NodeProto, helper, numpy_helper
from onnx_models import import_model

from benchmarks.backend_tests import cases
from benchmarks.mutations import judge
from tilewright.compiler.frontends.onnx import import_onnx
from tilewright.errors import UserError

node = helper.make_node


def model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
    functions: Sequence[FunctionProto] = (),
    shape: Sequence[int] = (2, 3),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "malformed",
        [value(name, FLOAT, shape) for name in inputs],
        [value(name, FLOAT, shape) for name in outputs],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions))


def function(name: str, *called: str) -> FunctionProto:
    """Return a function that calls others, one after the other."""
    values = ["a", *(f"v{index}" for index in range(len(called) - 1)), "b"]
    nodes = [
        node(each, [source], [target], domain="own" if each != "Neg" else "")
        for each, source, target in zip(called, values, values[1:], strict=False)
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["b"], nodes, opsets)


def _chain(length: int) -> list[NodeProto]:
    names = ["x", *(f"v{index}" for index in range(length - 1)), "y"]
    return [node("Neg", [source], [target]) for source, target in zip(names, names[1:], strict=False)]


def _sizes(operator: str, *sizes: int) -> onnx.ModelProto:
    made = model([node(operator, ["x", "s"] if operator == "Expand" else ["s"], ["y"])])
    made.graph.initializer.append(numpy_helper.from_array(np.array(sizes), "s"))
    return made


def _long_loop() -> onnx.ModelProto:
    inside = body([node("Neg", ["x"], ["h"]), node("Identity", ["c"], ["d"])],
                  [value("i", INT64), value("c", BOOL)], [value("d", BOOL), value("h", FLOAT, (2, 3))])  # fmt: skip
    made = model([node("Loop", ["n", ""], ["y"], body=inside)], shape=(2, 3))
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, [None, 2, 3]))
    made.graph.initializer.append(numpy_helper.from_array(np.array(2**50), "n"))
    return made


MALFORMED = {
    "cycle": (model([node("Add", ["x", "b"], ["a"]), node("Neg", ["a"], ["b"]), node("Neg", ["b"], ["y"])]), "sorted"),
    "undefined input": (model([node("Add", ["x", "nowhere"], ["y"])]), "nowhere"),
    "a value made twice": (model([node("Neg", ["x"], ["y"]), node("Abs", ["x"], ["y"])]), "'y' .*multiple times"),
    "two inputs of one name": (model([node("Neg", ["x"], ["y"])], ["x", "x"]), "'x' .*multiple times"),
    "two outputs of one name": (model([node("Neg", ["x"], ["y"])], outputs=["y", "y"]), "two outputs are named 'y'"),
    "no outputs": (model([node("Neg", ["x"], ["y"])], outputs=[]), "no outputs"),
    "a string for an integer": (model([node("Softmax", ["x"], ["y"], axis="one")]), "axis.*INT.*STRING"),
    "a number for a list": (model([node("Transpose", ["x"], ["y"], perm=1.5)]), "perm.*INTS.*FLOAT"),
    "a number for a body": (model([node("If", ["x"], ["y"], then_branch=3, else_branch=4)]), "GRAPH.*INT"),
    "a body that is missing": (model([node("If", ["x"], ["y"])]), "else_branch|then_branch"),
    "huge dims": (model([node("Neg", ["x"], ["y"])], shape=[2**40, 2**40]), "too large"),
    "huge constants": (_sizes("ConstantOfShape", 2**40, 2**40), "too large"),
    "huge broadcasts": (_sizes("Expand", 2**40, 2**20, 2, 3), "too large"),
    "huge scan results": (_long_loop(), "too large"),
    "a function that calls itself": (
        model([node("A", ["x"], ["y"], domain="own")], functions=[function("A", "A")]), "function 'A' calls itself",
    ),
    "functions that call each other": (
        model([node("A", ["x"], ["y"], domain="own")], functions=[function("A", "B"), function("B", "A")]),
        "function 'A' calls itself by way of 'B'",
    ),
    "functions that double": (
        model([node("F0", ["x"], ["y"], domain="own")],
              functions=[*(function(f"F{at}", *[f"F{at + 1}"] * 2) for at in range(40)), function("F40", "Neg")]),
        "more than 50000 nodes",
    ),
    "functions without end": (
        model([node("F0", ["x"], ["y"], domain="own")],
              functions=[*(function(f"F{at}", f"F{at + 1}") for at in range(5000)), function("F5000", "Neg")]),
        "more than 100 deep",
    ),
    "100000 nodes": (model(_chain(100_000)), "more than 50000 nodes"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_models_are_refused_at_once(case: str) -> None:
    made, sentence = MALFORMED[case]
    start = time.perf_counter()
    with pytest.raises(UserError, match=sentence) as refusal:
        import_model(made)
    assert time.perf_counter() - start < 20
    assert "\n" not in str(refusal.value)


def _field(number: int, data: bytes) -> bytes:
    """Return a field of a protobuf message that holds bytes."""
    length, size = bytearray(), len(data)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + data


def _import_bytes(data: bytes, folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(data)
    import_onnx(path)


def test_bodies_in_bodies_without_end(tmp_path: Path) -> None:
    graph = b""
    for _ in range(10_000):
        branch = _field(1, b"then_branch") + _field(6, graph)
        graph = _field(1, _field(4, b"If") + _field(5, branch))
    data = model([node("Neg", ["x"], ["y"])]).SerializeToString() + _field(7, graph)
    with pytest.raises(UserError, match="not an ONNX file, or a truncated one"):
        _import_bytes(data, tmp_path)


def test_bodies_in_bodies(tmp_path: Path) -> None:
    inner = body([node("Identity", ["x"], ["h"])], [], [value("h", FLOAT, (2, 3))])
    for _ in range(11):
        inner = body([node("If", ["c"], ["h"], then_branch=inner, else_branch=inner)], [], [value("h", FLOAT, (2, 3))])
    made = model([node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)])
    made.graph.input.append(value("c", BOOL))
    start = time.perf_counter()
    with pytest.raises(UserError, match="more than 1000"):
        _import_bytes(made.SerializeToString(), tmp_path)
    assert time.perf_counter() - start < 20


def test_sizes_of_zero(tmp_path: Path) -> None:
    made = model([node("Reshape", ["x", "s"], ["h"], allowzero=1), node("MatMul", ["h", "w"], ["y"])], shape=(0, 3))
    weight = np.ones((0, 2), np.float32)
    made.graph.initializer.extend(
        [numpy_helper.from_array(np.array([3, 0]), "s"), numpy_helper.from_array(weight, "w")]
    )
    made.graph.output[0].CopyFrom(value("y", FLOAT, (3, 2)))
    imported = import_model(made)
    assert imported.signature.outputs[0].shape == (3, 2)


@pytest.mark.parametrize("input_type", [FLOAT, 14])
def test_complex_numbers(input_type: int) -> None:
    made = model([node("Identity", ["x" if input_type == 14 else "w"], ["y"])])
    made.graph.input[0].CopyFrom(value("x", input_type, (2, 3)))
    made.graph.initializer.append(numpy_helper.from_array(np.ones((2, 3), np.complex64), "w"))
    with pytest.raises(UserError, match="holds .*complex numbers"):
        import_model(made)


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_models_are_taken_or_refused(seed: int, tmp_path: Path) -> None:
    found = list(cases(["pytorch-operator", "pytorch-converted"]))
    verdicts = [judge(at, found[at % len(found)], tmp_path, seed) for at in range(100)]
    assert any(each.kind == "taken" for each in verdicts)
    assert [each for each in verdicts if each.kind not in ("taken", "refused")] == []
