from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from cli.conftest import Call
from quantization_models import convolutions, network

from tilewright.compiler.cli.quantize_options import BOUNDED, CALIBRATIONS, METHOD_LINES
from tilewright.optimizer.quantize.calibration import OBSERVERS
from tilewright.optimizer.quantize.methods import METHODS


@pytest.fixture
def model() -> Path:
    onnx.save(convolutions(), "net.onnx")
    return Path("net.onnx")


@pytest.fixture
def data() -> Path:
    draw = np.random.default_rng(2)
    Path("data").mkdir()
    for index in range(10):
        np.save(f"data/{index}.npy", draw.standard_normal((1, 3, 8, 8)).astype("float32"))
    return Path("data")


def test_help_knows_every_method() -> None:
    assert {name: METHODS[name].line for name in METHODS} == METHOD_LINES
    assert set(CALIBRATIONS) == set(OBSERVERS)
    assert {name for name in METHODS if METHODS[name].bounded} == set(BOUNDED)


@pytest.mark.parametrize("option", [("--max-drop", "1%"), ("--best-effort",)])
def test_a_bound_is_of_methods_that_search(call: Call, model: Path, data: Path, option: tuple[str, ...]) -> None:
    result = call("quantize", model, "--calibration", data, *option)
    assert result.code == 2
    assert result.sentence == f"{option[0]} is for --method accuracy-aware and mixed: method 'default' keeps no bound"
    assert not Path("net.int8.onnx").exists()


def test_layers_too_small_for_weights_only_are_named(call: Call, model: Path) -> None:
    result = call("quantize", model, "--method", "weights-only")
    assert result.code == 0, result.err
    assert "layers stay floats" in result.out


def test_a_model_is_quantized_and_reported(call: Call, model: Path, data: Path) -> None:
    result = call("quantize", model, "--calibration", data, "--html", "r.html", "--calibrate", "entropy", "--equalize")
    assert result.code == 0, result.err
    assert "cosine" in result.out
    assert "net.int8.onnx" in result.out
    assert "--validation" in result.out
    kinds = {node.op_type for node in onnx.load("net.int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    page = Path("r.html").read_text()
    assert "<script" not in page
    assert "wide" in page


def test_names_in_a_model_are_no_markup(call: Call, data: Path) -> None:
    net = convolutions()
    net.graph.node[0].name = "<img src=x>\x1b[31m"
    onnx.save(net, "net.onnx")
    result = call("quantize", "net.onnx", "--calibration", data, "--html", "r.html")
    assert result.code == 0, result.err
    assert "<img" not in Path("r.html").read_text()
    assert "\x1b[31m" not in result.out


def test_weights_only_in_four_bits_needs_no_data(call: Call, model: Path) -> None:
    result = call("quantize", model, "--method", "weights-only", "--bits", "4", "-q")
    assert result.code == 0, result.err
    assert Path("net.int4.onnx").exists()
    result = call("quantize", model, "--method", "weights-only", "--bits", "4")
    assert "nan" not in result.out
    refused = call("quantize", model, "--bits", "4", "-o", "other.onnx")
    assert "--bits 4 is for --method weights-only" in refused.sentence
    assert not Path("other.onnx").exists()
    rounded = ("quantize", model, "--method", "weights-only", "--rounding", "gptq")
    assert "rounding by gptq needs samples" in call(*rounded).sentence
    assert "--rounding gptq is for" in call("quantize", model, "--rounding", "gptq").sentence


def test_weights_that_do_not_become_what_was_asked_for_are_named(call: Call) -> None:
    draw = np.random.default_rng(3)
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1] * 4),
        onnx.helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        onnx.helper.make_node("Flatten", ["g"], ["f"]),
        onnx.helper.make_node("Gemm", ["f", "v"], ["y"], "dense"),
    ]
    constants = {"w": draw.standard_normal((72, 8, 3, 3)), "v": draw.standard_normal((72, 64))}
    floats = {name: each.astype("float32") for name, each in constants.items()}
    onnx.save(network(nodes, floats, (1, 8, 8, 8)), "odd.onnx")
    result = call("quantize", "odd.onnx", "--method", "weights-only", "--bits", "4")
    assert "1 convolutions have 8 bits" in result.out
    assert "('dense')" in result.out
    assert "int8 weights" in result.out
    assert (
        "int4 weights" in call("quantize", "odd.onnx", "--method", "weights-only", "--bits", "4", "--group", "24").out
    )
    assert (
        "group of 0" in call("quantize", "odd.onnx", "--method", "weights-only", "--bits", "4", "--group", "0").sentence
    )


def test_one_sample_is_warned_of(call: Call, model: Path, data: Path) -> None:
    assert "one sample only" in call("quantize", model, "--calibration", data / "0.npy").out


X = np.zeros((1, 3, 8, 8), "float32")
BAD = {
    "the shape \\[1, 3, 8\\]": {"x": X[..., 0]},
    "element type float64.*astype": {"x": X.astype("float64")},
    "no array 'x'.*'y'": {"y": X},
    "holds NaN": {"x": np.full_like(X, np.nan)},
    "is empty|the shape": {"x": X[:, :0]},
}


@pytest.mark.parametrize("message", list(BAD))
def test_bad_samples_are_named(call: Call, model: Path, message: str) -> None:
    np.savez("bad.npz", **BAD[message])  # type: ignore[arg-type]
    result = call("quantize", model, "--calibration", "bad.npz")
    assert re.search(message, result.sentence), result.sentence
    assert "bad.npz" in result.sentence
    assert not Path("net.int8.onnx").exists()


def test_bad_sources(call: Call, model: Path, data: Path) -> None:
    assert "needs samples" in call("quantize", model).sentence
    assert "no calibration data at 'nowhere'" in call("quantize", model, "--calibration", "nowhere").sentence
    Path("empty").mkdir()
    assert "gives no samples" in call("quantize", model, "--calibration", "empty").sentence
    Path("broken.npz").write_bytes(b"PK\x03\x04 nothing")
    assert "cannot be read" in call("quantize", model, "--calibration", "broken.npz").sentence
    np.save("pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "cannot be read" in call("quantize", model, "--calibration", "pickled.npy").sentence
    assert "cannot import 'nomodule'" in call("quantize", model, "--calibration", "nomodule:f").sentence
    assert "needs 'labels'" in call("quantize", model, "--calibration", data, "--metric", "top1").sentence
    assert "no share" in call("quantize", model, "--calibration", data, "--max-drop", "much").sentence
    assert "the model itself" in call("quantize", model, "--calibration", data, "-o", model).sentence
    assert "no method 'defualt' (did you mean" in call("quantize", model, "--method", "defualt").sentence


def test_bad_models(call: Call, model: Path, data: Path) -> None:
    assert call("quantize", model, "--calibration", data).code == 0
    again = call("quantize", "net.int8.onnx", "--calibration", data)
    assert "quantized already" in again.sentence
    plain = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Relu", ["x"], ["y"])],
            "g",
            [onnx.helper.make_tensor_value_info("x", 1, [1, 3, 8, 8])],
            [onnx.helper.make_tensor_value_info("y", 1, [1, 3, 8, 8])],
        ),
        ir_version=10,
        opset_imports=[onnx.helper.make_opsetid("", 17)],
    )
    onnx.save(plain, "plain.onnx")
    assert "nothing to quantize" in call("quantize", "plain.onnx", "--calibration", data).sentence


def test_functions_give_samples_and_metrics(
    call: Call, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    Path("tilewright_test_samples.py").write_text(
        "import numpy as np\n"
        "def images():\n"
        "    draw = np.random.default_rng(0)\n"
        "    for _ in range(9):\n"
        "        yield {'x': draw.standard_normal((1, 3, 8, 8)).astype('float32')}, draw.integers(10, size=1)\n"
        "def agreement(outputs, references, targets):\n"
        "    assert all('labels' in each for each in targets)\n"
        "    return np.mean([run['y'].argmax() == ref['y'].argmax() for run, ref in zip(outputs, references)])\n"
    )
    result = call(
        "quantize", model, "--calibration", "tilewright_test_samples:images",
        "--metric", "tilewright_test_samples:agreement",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "tilewright_test_samples:agreement  1 ->" in result.out


def test_preprocessing_files(call: Call, model: Path, data: Path) -> None:
    Path("data/photo.png").write_bytes(b"no picture")
    assert "--preprocessing" in call("quantize", model, "--calibration", data).sentence
    Path("p.json").write_text(json.dumps({"rezise": 8}))
    options = ("quantize", model, "--calibration", data, "--preprocessing")
    assert "did you mean 'resize'" in call(*options, "p.json").sentence
    Path("p.toml").write_text('layout = "CHW"')
    assert "NCHW" in call(*options, "p.toml").sentence
    Path("p.toml").write_text("layout = ")
    assert "no valid TOML" in call(*options, "p.toml").sentence
