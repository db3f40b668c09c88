"""Which frontend takes which file, and what is said where its framework is missing or its file is dangerous."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from tilewright.compiler.environments import ENVIRONMENTS, PADDLE, Environment
from tilewright.compiler.frontends import ModelSource, import_model
from tilewright.compiler.frontends.conversion import converted
from tilewright.compiler.frontends.converter import Converter
from tilewright.compiler.frontends.formats import format_of
from tilewright.errors import UserError

_NO_TENSORFLOW = importlib.util.find_spec("tensorflow") is None


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _keras(path: Path, layers: list[dict[str, object]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": {"layers": layers}}))
    return path


def test_formats_by_name(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "saved_model.pb").touch()
    (tmp_path / "net.pdiparams").touch()
    names = {
        saved: "TensorFlow",
        saved / "saved_model.pb": "TensorFlow",
        Path("a.keras"): "TensorFlow",
        Path("a.H5"): "TensorFlow",
        Path("a.pb"): "TensorFlow",
        Path("a.tflite"): "TensorFlow",
        Path("a.pdmodel"): "Paddle",
        tmp_path / "net.json": "Paddle",
        tmp_path / "net.pdiparams": "Paddle",
        tmp_path / "forest.json": "trees",
        Path("a.onnx"): "ONNX",
    }
    assert {path: format_of(ModelSource(path)).name for path in names} == names


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("net.mlmodel", "Core ML model"),
        ("net-0000.params", "mxnet.onnx.export_model"),
        ("net.pdparams", "paddle.jit.save"),
        ("net.safetensors", "weights without a network"),
    ],
)
def test_files_that_are_not_read_say_the_way(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        import_model(ModelSource(Path(name)))


def test_a_lambda_layer_is_refused_without_tensorflow(tmp_path: Path) -> None:
    path = _keras(
        tmp_path / "a.keras",
        [{"class_name": "Dense", "config": {"name": "d"}}, {"class_name": "Lambda", "config": {"name": "evil"}}],
    )
    with pytest.raises(UserError, match=r"a\.keras: its layer 'evil' is a Lambda"):
        import_model(ModelSource(path))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 and then nothing", b"\x89HDF\r\n\x1a\n"])
def test_damaged_keras_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.keras"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"not a \.keras file"):
        import_model(ModelSource(path))


@pytest.mark.skipif(not _NO_TENSORFLOW, reason="TensorFlow is installed here")
def test_missing_tensorflow_names_the_extra(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"needs the package '\w+'.*pip install 'tilewright\[tensorflow\]'"):
        import_model(ModelSource(_keras(tmp_path / "a.keras", [])))


@pytest.mark.parametrize("name", ["a.tflite", "a.keras", "a.pb", "a.pdmodel", "a.json/saved_model.pb"])
def test_missing_files(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file|there is no"):
        import_model(ModelSource(tmp_path / name))


def test_missing_paddle_names_the_command(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "net.json").write_text("{}")
    (tmp_path / "net.pdiparams").touch()
    for name in ("net.json", "net.pdiparams"):
        with pytest.raises(UserError, match="net.json: .*tilewright doctor --install paddle"):
            import_model(ModelSource(tmp_path / name))
    assert not cache.exists()


def test_paddle_programs_without_weights_are_not_unpickled(tmp_path: Path) -> None:
    (tmp_path / "net.pdmodel").touch()
    with pytest.raises(UserError, match="there is no 'net.pdiparams' beside it"):
        import_model(ModelSource(tmp_path / "net.pdmodel"))


def test_choices_of_tensorflow_are_refused_elsewhere() -> None:
    with pytest.raises(UserError, match="--signature and --outputs are for those"):
        import_model(ModelSource(Path("a.onnx"), signature="serve"))


def test_an_environment_is_made_and_known_again(cache: Path) -> None:
    environment = Environment("none", ())
    assert not environment.is_ready()
    # pip refuses an empty list of requirements: a real failure, after which nothing may be left.
    with pytest.raises(UserError, match="doctor --install none.*pip install"):
        environment.install()
    assert not environment.is_ready()
    assert list((cache / "tilewright" / "environments").iterdir()) == []


def test_an_environment_of_other_packages_is_not_ready(cache: Path) -> None:
    PADDLE.folder.mkdir(parents=True)
    (PADDLE.folder / "tilewright.json").write_text(json.dumps({"packages": ["paddlepaddle==1"], "python": [3, 11]}))
    assert not PADDLE.is_ready()
    assert ENVIRONMENTS["paddle"] is PADDLE
    with pytest.raises(UserError, match="did you mean 'paddle'"):
        ENVIRONMENTS["padle"]


_SCRIPT = """
import json, sys, time
request = json.load(open(sys.argv[1]))
mode = open(request["model"]).read()
if mode == "slow":
    time.sleep(60)
if mode == "crash":
    raise ValueError("the framework gives up")
if mode == "refuse":
    json.dump({"refused": "layer 'x' is not known"}, open(request["answer"], "w"))
"""


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("refuse", "model.bin: layer 'x' is not known"),
        ("crash", "model.bin: Toy's converter fails: ValueError: the framework gives up"),
        ("silent", "model.bin: Toy's converter fails: it wrote nothing"),
        ("slow", "model.bin: Toy's converter takes more than 1 s"),
    ],
)
def test_failures_of_a_converter_are_sentences(tmp_path: Path, mode: str, said: str) -> None:
    script, model = tmp_path / "script.py", tmp_path / "model.bin"
    script.write_text(_SCRIPT)
    model.write_text(mode)
    converter = Converter("Toy", script, seconds=1 if mode == "slow" else 60)
    with pytest.raises(UserError) as caught:
        converter.run(model, tmp_path / "out.onnx")
    assert said in str(caught.value)


def test_converted_models_keep_name_and_path(tmp_path: Path) -> None:
    def convert(source: ModelSource, path: Path) -> dict[str, tuple[int | str, ...]]:
        x, y = (make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
        graph = make_graph([make_node("Relu", ["x"], ["y"])], "g", [x], [y])
        onnx.save(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=9), path)
        return {}

    with converted(ModelSource(tmp_path / "my.tflite", {"x": (3,)}), convert) as (path, shapes):
        assert path.stem == "my"
        assert shapes == {"x": (3,)}
    assert not path.exists()
    with (
        pytest.raises(UserError, match=r"my\.tflite: wrong"),
        converted(ModelSource(tmp_path / "my.tflite"), convert) as (path, _),
    ):
        raise UserError(f"{path}: wrong")


@pytest.mark.skipif(_NO_TENSORFLOW, reason="needs TensorFlow: pip install 'tilewright[tensorflow]'")
def test_frozen_graph_with_found_ends(tmp_path: Path) -> None:
    import tensorflow as tf

    import tilewright
    from tilewright.runtime import load

    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (2, 3), "x")
        tf.nn.softmax(tf.matmul(x, tf.constant(np.ones((3, 4), np.float32))) + x[:, :1], name="y")
    path = tmp_path / "net.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    given = np.arange(6, dtype=np.float32).reshape(2, 3)
    with tf.compat.v1.Session(graph=graph) as session:
        wanted = session.run("y:0", {"x:0": given})
    with load(tilewright.compile(path).save(tmp_path / "net.so")) as model:
        np.testing.assert_allclose(model(x=given)["y"], wanted, rtol=1e-5)
