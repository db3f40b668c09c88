"""`tilewright bench`: a library from a hand-written plan beside the runtimes that run its model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from cli.conftest import Call


def test_alone(call: Call, tiny: Path) -> None:
    result = call("bench", tiny, "--repeat", "50", "--json")
    assert result.code == 0, result.err
    data = json.loads(result.out)
    (ours,) = data["standings"]
    assert data["threads"] == 1
    assert ours["latency"]["runs"] == 50
    latency = ours["latency"]
    assert 0 < latency["minimum"] <= latency["median"] <= latency["p90"] <= latency["p99"]
    assert ours["ratio"] is None


def test_peers_compute_the_same_and_take_turns(call: Call, tiny: Path, tiny_model: Path) -> None:
    words = ("--against", "onnxruntime,openvino", "--model", tiny_model, "--repeat", "30", "--threads", "2", "--json")
    data = json.loads(call("bench", tiny, *words).out)
    assert data["threads"] == 2
    names = [each["name"].split()[0] for each in data["standings"]]
    assert names == ["tilewright", "onnxruntime", "openvino"]
    for peer in data["standings"][1:]:
        assert peer["latency"]["runs"] == 30
        assert peer["difference"] < 1e-6
        ours = data["standings"][0]["latency"]["median"]
        assert peer["ratio"]["median"] == pytest.approx(peer["latency"]["median"] / ours)


def test_a_peer_that_computes_something_else_is_told(call: Call, tiny: Path, tiny_model: Path) -> None:
    import onnx

    model = onnx.load(tiny_model)
    next(node for node in model.graph.node if node.op_type == "Add").op_type = "Sub"
    onnx.save(model, "other.onnx")
    words = ("--against", "onnxruntime", "--model", "other.onnx", "--repeat", "2", "--json")
    data = json.loads(call("bench", tiny, *words).out)
    assert data["standings"][1]["difference"] > 0.01


def test_the_table_names_what_was_measured(call: Call, tiny: Path, tiny_model: Path) -> None:
    out = call("bench", tiny, "--against", "onnxruntime", "--model", tiny_model, "--seconds", "0.1").out
    assert "tiny, 1 thread(s)" in out
    for word in ("median", "p90", "p99", "runs/s", "ratio", "quartiles", "outputs differ", "onnxruntime 1."):
        assert word in out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("model.so", "--against", "onnxruntime"), "give --model MODEL.onnx"),
        (("model.so", "--against", "onnxrutime"), "there is no runtime 'onnxrutime' (did you mean 'onnxruntime'?)"),
        (("model.onnx", "--model", "other.onnx"), "leave --model out"),
        (("model.so", "--seconds", "0"), "--seconds"),
        (("no.so",), "no.so: no such file"),
    ],
)
def test_bad_options_are_one_sentence(call: Call, words: tuple[str, ...], part: str) -> None:
    assert part in call("bench", *words).sentence


def test_a_peer_that_is_not_installed_is_one_sentence(
    call: Call, tiny: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    sentence = call("bench", tiny, "--against", "openvino", "--model", tiny_model).sentence
    assert sentence == "openvino is not installed: run 'pip install openvino'"


@pytest.mark.parametrize("peer", ["onnxruntime", "openvino"])
def test_a_peer_that_refuses_the_model_is_one_sentence(call: Call, tiny: Path, tiny_model: Path, peer: str) -> None:
    import onnx

    model = onnx.load(tiny_model)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5
    onnx.save(model, "other.onnx")
    sentence = call("bench", tiny, "--against", peer, "--model", "other.onnx").sentence
    assert sentence.startswith(f"{peer} cannot run 'other.onnx': ")
