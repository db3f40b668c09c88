"""Nodes of com.microsoft, run by onnxruntime and by the importer with TVM's own lowering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx_models import check_model, tensor_input

Array = NDArray[Any]
_TYPES = {
    "float32": TensorProto.FLOAT,
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
}


def check(
    op_type: str,
    inputs: Mapping[str, Array],
    constants: Mapping[str, Array] | None = None,
    order: str = "",
    outputs: Mapping[str, str] | None = None,
    atol: float = 2e-6,
    **attributes: Any,
) -> Any:
    """Compare a node, whose operands are ordered as in ``order`` ("-" for an absent one), with onnxruntime."""
    named = {**inputs, **(constants or {})}
    operands = ["" if name == "-" else name for name in order.split()] or list(named)
    results = dict(outputs or {"y": "float32"})
    node = helper.make_node(op_type, operands, list(results), domain="com.microsoft", **attributes)
    graph = helper.make_graph(
        [node],
        "test",
        [tensor_input(name, array) for name, array in inputs.items()],
        [helper.make_tensor_value_info(name, _TYPES[kind], None) for name, kind in results.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for value, result in zip(model.graph.output, session.run(None, dict(inputs)), strict=True):
        value.CopyFrom(tensor_input(value.name, result))
    return check_model(model, inputs, rtol=1e-5, atol=atol)


def normal(*shape: int) -> Array:
    """Return normally distributed numbers."""
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def integers(dtype: str, *shape: int) -> Array:
    """Return integers of the whole range of a type."""
    info = np.iinfo(dtype)
    return np.random.default_rng(sum(shape)).integers(info.min, info.max, shape, endpoint=True).astype(dtype)
