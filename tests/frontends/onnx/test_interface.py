"""Inputs: which they are, and how their shapes become static."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import check_model, import_model, model_of, normal

from tilewright.compiler.frontends.onnx import import_onnx
from tilewright.errors import UserError


def _add(a: list[int | str | None] | None, b: list[int | str | None] | None) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in (("left", a), ("right", b))
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 3])
    graph = helper.make_graph([helper.make_node("Add", ["left", "right"], ["y"])], "add", inputs, [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def _message(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], tmp_path: Path) -> str:
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with pytest.raises(UserError) as caught:
        import_onnx(path, shapes)
    return str(caught.value).removeprefix(f"{path}: ")


def test_dynamic_inputs_are_named_with_the_remedy(tmp_path: Path) -> None:
    model = _add(["rows", 3], [None, 3])
    assert _message(model, {}, tmp_path) == (
        "dynamic input 'left' [rows, 3], 'right' [?, 3]: give its shape, for example "
        '--input-shapes "left:[1,3] right:[1,3]", or bounds for sizes that differ from run to run: '
        '--input-shapes "left:[rows<=32,3] right:[size0<=32,3]"'
    )
    assert _message(_add(None, [2, 3]), {}, tmp_path).startswith("dynamic input 'left' of unknown rank: give")


def test_shapes_that_do_not_fit(tmp_path: Path) -> None:
    model = _add(["rows", 3], ["rows", 3])
    assert _message(model, {"lefft": (2, 3)}, tmp_path) == "no input is named 'lefft' (did you mean 'left'?)"
    assert _message(model, {"left": (2, 3, 1)}, tmp_path) == (
        "input 'left' has 2 dimensions [rows, 3], but the shape given has 3: [2, 3, 1]"
    )
    assert _message(model, {"left": (2, 4)}, tmp_path) == (
        "the shape [2, 4] given for input 'left' conflicts with the model's [rows, 3]"
    )
    assert _message(model, {"left": (2, 3), "right": (4, 3)}, tmp_path) == (
        "the shapes given make dimension 'rows' both 2 and 4 (input 'right')"
    )


def test_a_symbol_is_fixed_for_every_input() -> None:
    imported = import_model(_add(["rows", 3], ["rows", 3]), {"left": (4, 3)})
    assert [spec.shape for spec in imported.signature.inputs] == [(4, 3), (4, 3)]
    assert [(spec.name, spec.shape, spec.dtype) for spec in imported.signature.outputs] == [("y", (4, 3), "float32")]


def test_an_initializer_is_no_input() -> None:
    model = _add([2, 3], [2, 3])
    model.graph.initializer.append(numpy_helper.from_array(normal(2, 3), "right"))
    imported = import_model(model)
    assert [spec.name for spec in imported.signature.inputs] == ["left"]
    assert len(imported.module["main"].params) == 1


def test_inputs_of_other_kinds_are_refused(tmp_path: Path) -> None:
    model = _add([2, 3], [2, 3])
    model.graph.input[1].type.CopyFrom(
        helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    )
    assert _message(model, {}, tmp_path) == (
        "input 'right' is a sequence: give the shape of each of its tensors, for example "
        '--input-shapes "right.0:[1,3] right.1:[2,3]"'
    )
    model.graph.input[1].CopyFrom(helper.make_tensor_value_info("right", TensorProto.STRING, [2]))
    assert _message(model, {}, tmp_path).startswith("input 'right' holds strings")


def test_tensors_without_elements_are_known_at_import() -> None:
    constants = {"s": np.array([2], np.int64), "e": np.array([1], np.int64)}
    model = model_of([helper.make_node("Slice", ["x", "s", "e"], ["y"])], {"x": normal(4, 3)}, constants)
    imported = check_model(model, {"x": normal(4, 3)})
    assert imported.signature.outputs[0].shape == (0, 3)
    empty = normal(0, 3)
    check_model(model_of([helper.make_node("ReduceSum", ["x", "a"], ["y"], keepdims=0)], {"x": empty},
                         {"a": np.array([0], np.int64)}), {"x": empty})  # fmt: skip


def test_operands_that_do_not_fit_name_the_node(tmp_path: Path) -> None:
    message = _message(_add([2, 3], [4, 5]), {}, tmp_path)
    assert message.startswith("node Add 'y': its operands do not fit it: ")
    assert "\n" not in message


def test_every_binding_has_an_origin() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h/1"], name="fc/one", transB=1),
        helper.make_node("Mish", ["h/1"], ["y"]),
    ]
    model = model_of(nodes, {"x": normal(2, 3)}, {"w": normal(4, 3), "b": normal(4)}, opset=18)
    imported = import_model(model)
    (block,) = imported.module["main"].body.blocks
    named = [imported.origins.get(binding.var.name) for binding in block.bindings[:-1]]
    assert named[:2] == ["Gemm 'fc/one'"] * 2
    assert set(named[2:]) == {"Mish 'y'"}
    assert block.bindings[0].var.name == "h_1"
