from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from plan_builder import Arrays, PlanBuilder

from tilewright.compiler.cli.main import cli


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line that a user error is allowed."""
        lines = self.err.splitlines()
        assert self.code == 2, self.err
        assert len(lines) == 1, self.err
        assert lines[0].startswith("tilewright: error: ")
        return lines[0].removeprefix("tilewright: error: ")


Call = Callable[..., Result]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    """Run the command line in this process, as its entry point does."""

    def run(*words: object) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert isinstance(exit_.value.code, int)
        return Result(exit_.value.code, out, err)

    return run


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library from a hand-written plan: x float32 [2, 3] and input.ids int64 [4] to y, total, positive."""
    return PlanBuilder(tmp_path_factory.mktemp("cli")).shared("tiny")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the hand-written plan computes, as an ONNX model."""
    constants = {"weights": [2.0, 3.0, 4.0], "one": [1.0]}
    nodes = [
        helper.make_node("Mul", ["x", "weights"], ["scaled"]),
        helper.make_node("Add", ["scaled", "one"], ["y"]),
        helper.make_node("ReduceSum", ["input.ids"], ["total"], keepdims=0),
        helper.make_node("Greater", ["input.ids", "zero"], ["positive"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3]),
            helper.make_tensor_value_info("input.ids", TensorProto.INT64, [4]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3]),
            helper.make_tensor_value_info("total", TensorProto.INT64, []),
            helper.make_tensor_value_info("positive", TensorProto.BOOL, [4]),
        ],
        [
            *(numpy_helper.from_array(np.array(values, np.float32), name) for name, values in constants.items()),
            helper.make_tensor("zero", TensorProto.INT64, [], [0]),
        ],
    )
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def inputs() -> Arrays:
    return {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "input.ids": np.array([3, -1, 0, 5])}
