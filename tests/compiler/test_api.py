"""The compiler as a function: requests, artifacts, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from onnx_models import Array, model_of, normal

import tilewright
from tilewright.compiler.api import FORMATS, CompileRequest, compile_model
from tilewright.errors import UserError
from tilewright.runtime import load


@pytest.fixture
def inputs() -> dict[str, Array]:
    return {"x": normal(3, 5)}


@pytest.fixture
def model(tmp_path: Path, inputs: dict[str, Array]) -> Path:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Relu", ["p"], ["y"])]
    path = tmp_path / "my model.onnx"
    path.write_bytes(model_of(nodes, inputs, {"w": normal(5, 4, seed=1)}).SerializeToString())
    return path


def test_compile_save_load_run(model: Path, inputs: dict[str, Array], tmp_path: Path) -> None:
    saved = tilewright.compile(model).save(tmp_path / "model.so")
    assert saved == tmp_path / "model.so"
    result = load(saved)(**inputs)["y"]
    np.testing.assert_allclose(result, np.maximum(inputs["x"] @ normal(5, 4, seed=1), 0), rtol=1e-5, atol=1e-6)


def test_a_path_may_be_a_string(model: Path, tmp_path: Path) -> None:
    assert tilewright.compile(str(model)).save(str(tmp_path / "model.so")).exists()


def test_the_library_works_where_the_model_is_gone(model: Path, inputs: dict[str, Array], tmp_path: Path) -> None:
    artifact = tilewright.compile(model)
    before = load(artifact.save(tmp_path / "one.so"))(**inputs)["y"]
    model.unlink()
    after = load(artifact.save(tmp_path / "two.so"))(**inputs)["y"]
    np.testing.assert_array_equal(before, after)
    assert (tmp_path / "one.so").read_bytes() == (tmp_path / "two.so").read_bytes()


@pytest.mark.parametrize("format", FORMATS)
def test_formats(model: Path, tmp_path: Path, format: str) -> None:
    saved = tilewright.compile(model, format=format).save(tmp_path / "out")
    assert saved.is_file() if format == "so" else any(saved.iterdir())


def test_the_name_of_the_model_is_the_files_or_the_requests(model: Path, tmp_path: Path) -> None:
    for name in (None, "other"):
        artifact = compile_model(CompileRequest(model, name=name))
        assert artifact is not None
        assert load(artifact.save(tmp_path / f"{name}.so")).name == (name or "my_model")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stop_after": "fus"}, "unknown phase 'fus' (did you mean 'fuse'?): it is one of import, simplify"),
        ({"format": "dll"}, "unknown format 'dll': it is one of so, static, obj, c"),
        ({"accuracy": "exactly"}, "unknown accuracy 'exactly' (did you mean 'exact'?)"),
        ({"target": "x86-64-v9"}, "x86-64-v9"),
        ({"optimization": 4}, "unknown optimization level 4: it is one of 0, 1, 2, 3"),
        ({"optimization": -1}, "unknown optimization level -1: it is one of 0, 1, 2, 3"),
        ({"input_shapes": {"z": (3, 5)}}, "'z'"),
        ({"input_shapes": {"x": (3, 6)}}, "x"),
    ],
)
def test_requests_that_cannot_be_met(model: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        compile_model(CompileRequest(model, **changes))  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class _Trap:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


@pytest.mark.parametrize("suffix", [".onnx", ".pt", ".pth", ".pkl", ".bin"])
def test_pickles_are_refused_unread(tmp_path: Path, suffix: str) -> None:
    path, trace = tmp_path / f"model{suffix}", tmp_path / "was here"
    path.write_bytes(pickle.dumps(_Trap(trace)))
    with pytest.raises(UserError) as caught:
        tilewright.compile(path)
    assert str(path) in str(caught.value)
    assert not trace.exists()


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing.onnx"):
        tilewright.compile(tmp_path / "nothing.onnx")


def test_refused_models_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\x08\x09garbage")
    with pytest.raises(UserError, match="broken.onnx"):
        tilewright.compile(path).save(tmp_path / "model.so")
    assert [each.name for each in tmp_path.iterdir()] == ["broken.onnx"]
