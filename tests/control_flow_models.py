"""Models with control flow: bodies as graphs, libraries that run beside onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

import tilewright
from tilewright.runtime import load

Array = NDArray[Any]
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def value(name: str, kind: int = FLOAT, shape: Sequence[int] | None = ()) -> onnx.ValueInfoProto:
    """Return what a graph says of a value."""
    return helper.make_tensor_value_info(name, kind, shape)


def body(
    nodes: Sequence[NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Mapping[str, Array] | None = None,
) -> GraphProto:
    """Return a graph for an attribute."""
    held = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    return helper.make_graph(list(nodes), "body", list(inputs), list(outputs), held)


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Array],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Mapping[str, Array] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """Return a model."""
    given = [value(name, helper.np_dtype_to_tensor_dtype(each.dtype), each.shape) for name, each in inputs.items()]
    graph = body(nodes, given, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def reference(made: onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    """Return what onnxruntime computes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(made.SerializeToString(), options)
    return list(session.run(None, dict(inputs)))


def compile_to(folder: Path, made: onnx.ModelProto, **options: Any) -> Path:
    """Compile a model; return the library."""
    onnx.save(made, folder / "model.onnx")
    return tilewright.compile(folder / "model.onnx", jobs=1, **options).save(folder / "model.so")


def check(folder: Path, made: onnx.ModelProto, *cases: Mapping[str, Array]) -> Any:
    """Assert that a library computes what onnxruntime does, with one and two threads; return it, loaded."""
    library = compile_to(folder, made)
    loaded = load(library)
    for threads in (1, 2):
        with loaded.new_instance(threads=threads) as instance:
            for inputs in cases:
                call = instance.bind(dict(inputs))
                for array in call.outputs.values():
                    array.reshape(-1).view(np.uint8).fill(0xFF)
                got = dict(call().items())
                for (name, array), wanted in zip(got.items(), reference(made, inputs), strict=True):
                    assert array.dtype == wanted.dtype, name
                    assert array.shape == wanted.shape, name
                    np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=1e-6, err_msg=name)
    return loaded
