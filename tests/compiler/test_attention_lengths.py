"""Attention over lengths that only a run knows: one kernel, against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import normal

import tilewright
from tilewright.runtime import load


def _node(operator: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


@pytest.mark.parametrize(("target", "heads"), [("x86-64-v3", 2), ("x86-64-v4", 3)])
def test_one_kernel_for_every_length(tmp_path: Path, target: str, heads: int) -> None:
    """Queries and keys of lengths of their own, a mask of the keys, heads moved inside by transposes."""
    if target == "x86-64-v4" and "avx512f" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("the machine lacks AVX-512")
    size = 16
    shape = [0, 0, heads, size]
    nodes = [
        *(
            each
            for name in "qkv"
            for each in (
                _node("Reshape", f"{name} split", f"s{name}"),
                _node("Transpose", f"s{name}", f"t{name}", perm=[0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]),
            )
        ),
        _node("MatMul", "tq tk", "raw"),
        _node("Mul", "raw scale", "scaled"),
        _node("Add", "scaled mask", "masked"),
        _node("Softmax", "masked", "weights", axis=-1),
        _node("MatMul", "weights tv", "mixed"),
        _node("Transpose", "mixed", "back", perm=[0, 2, 1, 3]),
        _node("Reshape", "back joined", "y"),
    ]
    wide = heads * size
    inputs = {"q": ["batch", "rows", wide], "k": ["batch", "keys", wide], "v": ["batch", "keys", wide]}
    inputs["mask"] = ["batch", 1, 1, "keys"]
    constants = {"split": np.asarray(shape), "joined": np.asarray([0, 0, wide]), "scale": np.float32(0.25)}
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 3)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    bounds = {"q": ("batch<=3", "rows<=40", wide), "k": ("batch<=3", "keys<=70", wide)}
    bounds["mask"] = ("batch<=3", 1, 1, "keys<=70")
    library = tilewright.compile(path, input_shapes=bounds, target=target, jobs=1).save(tmp_path / "model.so")
    reference = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for threads in (1, 2):
        model = load(library, threads)
        assert sum("attention" in each.name for each in model.steps) == 1
        assert not any("softmax" in each.name for each in model.steps)
        for batch, rows, keys in ((1, 1, 1), (3, 40, 70), (2, 13, 16), (1, 37, 17), (3, 12, 64), (2, 3, 33)):
            feeds = {"q": normal(batch, rows, wide), "k": normal(batch, keys, wide), "v": normal(batch, keys, wide)}
            feeds["mask"] = np.where(np.arange(keys) % 5 == 4, -1e9, 0).astype("float32") * np.ones(
                (batch, 1, 1, 1), np.float32
            )
            call = model.bind(feeds)
            for array in call.outputs.values():
                array.fill(np.nan)
            (got,) = call().values()
            (want,) = reference.run(None, feeds)
            assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max(), (batch, rows, keys)
