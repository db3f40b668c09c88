from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from cli.conftest import Call
from onnx import numpy_helper
from quantization_models import convolutions

from tilewright.optimizer.compare import compare_models, match


@pytest.fixture
def data() -> Path:
    draw = np.random.default_rng(2)
    np.savez("data.npz", x=draw.standard_normal((8, 3, 8, 8)).astype("float32"))
    return Path("data.npz")


def damaged(tensor: str) -> onnx.ModelProto:
    """The same network with noise on one weight."""
    model = convolutions()
    weight = next(each for each in model.graph.initializer if each.name == tensor)
    values = numpy_helper.to_array(weight)
    noise = np.random.default_rng(3).standard_normal(values.shape).astype("float32")
    weight.CopyFrom(numpy_helper.from_array(values * (1 + 0.1 * noise), tensor))
    return model


def test_the_damaged_layer_is_named(call: Call, data: Path) -> None:
    onnx.save(convolutions(), "one.onnx")
    onnx.save(damaged("w2"), "other.onnx")
    found = compare_models(Path("one.onnx"), Path("other.onnx"), str(data))
    assert found.samples == 8
    by_node = {each.node: each for each in found.partings}
    assert by_node["wide"].sqnr == np.inf
    assert by_node["wide"].added == 0
    assert by_node["wide"].cosine == pytest.approx(1)
    assert 15 < by_node["narrow"].sqnr < 25
    assert found.worst_first[0].node == "narrow"
    result = call("compare", "one.onnx", "other.onnx", "--data", data, "--html", "c.html")
    assert result.code == 0, result.err
    assert result.out.splitlines()[2].split()[0] == "narrow"
    assert "dense" in Path("c.html").read_text()


def test_a_quantized_model_is_matched_by_its_tensors(call: Call, data: Path) -> None:
    onnx.save(convolutions(), "net.onnx")
    assert call("quantize", "net.onnx", "--calibration", data).code == 0
    found = compare_models(Path("net.onnx"), Path("net.int8.onnx"), str(data))
    assert {"stem", "wide", "grouped", "dense"} <= {each.node for each in found.partings}
    assert all(each.sqnr > 20 for each in found.partings)
    output = next(each for each in found.partings if each.output)
    assert output.tensor == "y"
    assert output.cosine > 0.999


def test_nodes_match_where_tensors_have_other_names() -> None:
    model, renamed = convolutions(), convolutions()
    for node in renamed.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name in ("c1", "y"):
                    names[index] = f"{name}_other"
    renamed.graph.output[0].name = "y_other"
    pairs = match(model, renamed)
    assert pairs["c1"] == "c1_other"
    assert pairs["y"] == "y_other"
    assert pairs["c0"] == "c0"


def test_models_of_other_inputs_are_refused(call: Call, data: Path) -> None:
    onnx.save(convolutions(), "one.onnx")
    other = convolutions()
    other.graph.input[0].name = "z"
    other.graph.node[0].input[0] = "z"
    onnx.save(other, "other.onnx")
    assert "inputs are not those of" in call("compare", "one.onnx", "other.onnx", "--data", data).sentence
    assert "no such file" in call("compare", "nothing.onnx", "one.onnx", "--data", data).sentence
