"""Files that are not what they should be: each gets one sentence."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx_models import model_of, normal
from relax_runner import run_module

from tilewright.compiler.frontends.onnx import import_onnx
from tilewright.errors import UnsupportedOperators, UserError


def _message(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        import_onnx(path, {})
    return str(caught.value)


def _relu() -> onnx.ModelProto:
    return model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": normal(2, 3)})


def _save(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _external(folder: Path, location: str, **entries: int) -> Path:
    """Save a model whose weight lies outside it."""
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])], {"x": normal(2, 3)}, {"w": normal(2, 3, seed=1)})
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=str(value))
    return _save(model, folder)


def test_files_that_hold_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert _message(path) == f"{path}: no such file"
    assert _message(tmp_path) == f"{tmp_path}: is a directory, not an ONNX file"
    path.write_bytes(b"")
    assert _message(path) == f"{path}: the file is empty"
    path.write_bytes(b"PK\x03\x04 nothing of the kind")
    assert _message(path) == f"{path}: not an ONNX file, or a truncated one (it is not a protobuf message)"
    path.write_bytes(_relu().SerializeToString()[:-9])
    assert _message(path) == f"{path}: not an ONNX file, or a truncated one (it is not a protobuf message)"
    path.write_bytes(onnx.ModelProto(producer_name="nobody").SerializeToString())
    assert _message(path) == f"{path}: not an ONNX model (it holds no graph or names no operator set)"


def test_a_file_larger_than_protobuf_allows(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as stream:
        stream.truncate(3 * 2**30)
    assert _message(path) == (
        f"{path}: 3.0 GiB is more than a protobuf file can hold (2 GiB): "
        "save the model with its weights as external data"
    )


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _save(_relu(), tmp_path)

    def refuse(self: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert _message(path) == f"{path}: cannot be read: Permission denied"


def test_what_onnx_finds_wrong(tmp_path: Path) -> None:
    model = _relu()
    model.graph.node[0].input[0] = "nowhere"
    message = _message(_save(model, tmp_path))
    assert message.startswith(f"{tmp_path / 'model.onnx'}: not a valid ONNX model: ")
    assert "nowhere" in message
    assert "\n" not in message


def test_versions_that_are_too_new(tmp_path: Path) -> None:
    model = _relu()
    newest = onnx.defs.onnx_opset_version()
    model.opset_import[0].version = newest + 1
    path = _save(model, tmp_path)
    assert _message(path) == (
        f"{path}: the model uses opset {newest + 1}, but onnx {onnx.__version__} knows opsets up to {newest}: "
        f"install a newer onnx or export the model with opset {newest}"
    )
    model.opset_import[0].version = 17
    model.ir_version = onnx.IR_VERSION + 1
    assert f"the model uses IR version {onnx.IR_VERSION + 1}" in _message(_save(model, tmp_path))


def test_every_unsupported_operator_is_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Plain", ["x"], ["a"], name="find", domain="com.example"),
        helper.make_node("Cast", ["a"], ["b"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Fancy", ["b"], ["y"], domain="com.example"),
    ]
    model = model_of(nodes, {"x": normal(2, 3)})
    path = _save(model, tmp_path)
    with pytest.raises(UnsupportedOperators) as caught:
        import_onnx(path, {})
    assert caught.value.operators == (
        ("com.example.Plain (opset 3)", "find"),
        ("com.example.Fancy (opset 3)", "y"),
    )
    assert str(caught.value) == (
        f"{path}: 2 unsupported operator node(s): com.example.Plain (opset 3) (node 'find'), "
        "com.example.Fancy (opset 3) (node 'y')"
    )


def test_external_data_inside_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    weight, data = normal(2, 3, seed=1), normal(2, 3)
    (tmp_path / "data" / "w.bin").write_bytes(b"12345678" + weight.tobytes())
    imported = import_onnx(_external(tmp_path, "data/w.bin", offset=8, length=24), {})
    np.testing.assert_array_equal(run_module(imported.module, [data])[0], data + weight)


def test_external_data_outside_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(24))
    where = f"{folder / 'model.onnx'}: tensor 'w': its external data"
    for location in ("../secret.bin", str(tmp_path / "secret.bin"), "a/../../secret.bin", "C:\\secret.bin"):
        message = _message(_external(folder, location))
        assert message == f"{where} '{location}' points outside the model's folder; that is refused"
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    message = _message(_external(folder, "link.bin"))
    assert message == f"{where} 'link.bin' leads outside the model's folder; that is refused"


def test_external_data_that_does_not_fit(tmp_path: Path) -> None:
    where = f"{tmp_path / 'model.onnx'}: tensor 'w'"
    assert _message(_external(tmp_path, "w.bin")) == (
        f"{where}: its external data file 'w.bin' is missing beside the model"
    )
    (tmp_path / "w.bin").write_bytes(bytes(20))
    assert _message(_external(tmp_path, "w.bin", offset=8, length=24)) == (
        f"{where}: bytes 8 to 32 lie outside its external data file 'w.bin' of 20 bytes"
    )
    assert _message(_external(tmp_path, "w.bin", offset=0, length=20)) == (
        f"{where} of shape [2, 3] needs 24 bytes, but its external data has 20"
    )


def test_a_tensor_whose_bytes_are_too_few(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])], {"x": normal(2, 3)}, {"w": normal(2, 3)})
    model.graph.initializer[0].raw_data = bytes(8)
    assert "tensor" in _message(_save(model, tmp_path)).lower()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_bytes_give_a_model_or_one_sentence(data: st.DataObject) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Shape", ["h"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Concat", ["n", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["h", "t"], ["f"]),
        helper.make_node("Pad", ["f", "pads"], ["y"]),
    ]
    constants = {"w": normal(4, 3, 3, 3), "zero": np.array([0]), "rest": np.array([-1]), "pads": np.array([0, 1, 0, 1])}
    whole = bytearray(model_of(nodes, {"x": normal(1, 3, 8, 8)}, constants).SerializeToString())
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        whole[place] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(whole)
        message = ""
        try:
            import_onnx(path, {})
        except UserError as error:
            message = str(error)
        assert "\n" not in message


def test_strings_are_refused(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Identity", ["x"], ["y"])], {"x": normal(1)})
    model.graph.node[0].input[0] = "words"
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", onnx.TensorProto.STRING, [1]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(["a"], object), "words"))
    message = _message(_save(model, tmp_path))
    assert message == f"{tmp_path / 'model.onnx'}: 'y' holds strings, which cannot be compiled where numbers are needed"
    model.graph.initializer[0].ClearField("string_data")
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="model.onnx")
    assert "tensor 'words' holds strings in an external file" in _message(_save(model, tmp_path))
