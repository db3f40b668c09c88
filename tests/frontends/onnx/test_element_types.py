"""Models of element types that machines lack, compiled to libraries: what goes in, through blocks, and comes out."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tilewright.compiler.api import CompileRequest, compile_model
from tilewright.runtime import Model, UserError, load


def _library(graph: onnx.GraphProto, folder: Path) -> Model:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=11)
    onnx.save(model, folder / "model.onnx")
    artifact = compile_model(CompileRequest(folder / "model.onnx", jobs=1))
    assert artifact is not None
    artifact.save(folder / "model.so")
    return load(folder / "model.so", threads=1)


def test_sums_of_bfloat16_in_a_scan(tmp_path: Path) -> None:
    kind = TensorProto.BFLOAT16
    values = [helper.make_tensor_value_info(name, kind, [4]) for name in ("s", "e", "t", "o")]
    nodes = [helper.make_node("Add", ["s", "e"], ["t"]), helper.make_node("Identity", ["t"], ["o"])]
    body = helper.make_graph(nodes, "body", values[:2], values[2:])
    scan = helper.make_node("Scan", ["start", "x"], ["last", "all"], num_scan_inputs=1, body=body)
    shapes = {"start": [4], "x": [5, 4], "last": [4], "all": [5, 4]}
    infos = [helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()]
    library = _library(helper.make_graph([scan], "test", infos[:2], infos[2:]), tmp_path)
    rng = np.random.default_rng(0)
    start, x = (rng.standard_normal(shape).astype(ml_dtypes.bfloat16) for shape in ((4,), (5, 4)))
    wanted = [start]
    for row in x:
        wanted.append((wanted[-1].astype(np.float32) + row.astype(np.float32)).astype(ml_dtypes.bfloat16))
    last, every = (each.view(ml_dtypes.bfloat16) for each in library(start, x))
    np.testing.assert_array_equal(last.astype(np.float32), wanted[-1].astype(np.float32))
    np.testing.assert_array_equal(every.astype(np.float32), np.stack(wanted[1:]).astype(np.float32))


def test_narrow_elements_lie_one_to_a_byte(tmp_path: Path) -> None:
    """An int4 and an 8-bit float go in and out, moved and converted; another type is refused with what to pass."""
    infos = [
        helper.make_tensor_value_info("a", TensorProto.INT4, [2, 8]),
        helper.make_tensor_value_info("b", TensorProto.FLOAT8E5M2, [16]),
    ]
    outputs = [
        helper.make_tensor_value_info("turned", TensorProto.INT4, [8, 2]),
        helper.make_tensor_value_info("other", TensorProto.FLOAT8E4M3FN, [16]),
    ]
    nodes = [
        helper.make_node("Transpose", ["a"], ["turned"], perm=[1, 0]),
        helper.make_node("Cast", ["b"], ["other"], to=TensorProto.FLOAT8E4M3FN),
    ]
    library = _library(helper.make_graph(nodes, "test", infos, outputs), tmp_path)
    assert [each.dtype for each in (*library.inputs, *library.outputs)] == [
        "int4", "float8_e5m2", "int4", "float8_e4m3fn",
    ]  # fmt: skip
    a = np.arange(-8, 8).reshape(2, 8).astype(ml_dtypes.int4)
    b = (np.arange(16) * 3.0 - 20).astype(ml_dtypes.float8_e5m2)
    turned, other = library(a, b)
    np.testing.assert_array_equal(turned.view(ml_dtypes.int4).astype(np.int8), a.astype(np.int8).T)
    wanted = b.astype(np.float32).astype(ml_dtypes.float8_e4m3fn)
    np.testing.assert_array_equal(other.view(ml_dtypes.float8_e4m3fn).astype(np.float32), wanted.astype(np.float32))
    with pytest.raises(UserError, match="is int4, not int8; pass its bits as uint8"):
        library(a.astype(np.int8), b)
