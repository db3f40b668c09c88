"""Small ONNX models for tests, run by the importer with TVM's own lowering and by onnxruntime."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from relax_runner import run_module

from tilewright.compiler.frontends.model import ImportedModel
from tilewright.compiler.frontends.onnx import import_onnx

Array = NDArray[Any]
#: What onnxruntime reads in every release that the tests may meet.
IR_VERSION = 10


def tensor_input(name: str, array: Array) -> onnx.ValueInfoProto:
    """Return a graph input of an array's type and shape."""
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Array],
    constants: Mapping[str, Array] | None = None,
    outputs: Sequence[str] | None = None,
    opset: int = 17,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """Return a model, where nodes may be of the domain "com.example".

    Its outputs are those of the last node when none are named.
    """
    names = list(nodes[-1].output) if outputs is None else list(outputs)
    graph = helper.make_graph(
        list(nodes),
        "test",
        [tensor_input(name, array) for name, array in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in names if name],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.example", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, functions=functions)
    inferred = onnx.shape_inference.infer_shapes(model)
    for value in inferred.graph.output:
        if not value.type.tensor_type.HasField("shape"):
            # Onnx infers nothing of some functions; those tested here keep their first operand's shape.
            value.type.CopyFrom(graph.input[0].type)
    return inferred


def import_model(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]] | None = None) -> ImportedModel:
    """Import a model by way of a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        return import_onnx(path, shapes or {})


def check_model(model: onnx.ModelProto, inputs: Mapping[str, Array], rtol: float = 1e-5, atol: float = 1e-6) -> Any:
    """Assert that a model computes what onnxruntime computes, types and shapes too; return the imported model."""
    imported = import_model(model)
    specs = imported.signature.outputs
    # TVM cannot load constants without elements, and there is nothing to run.
    results = [np.zeros(spec.static_shape, spec.dtype) for spec in specs if 0 in spec.shape]
    if len(results) < len(specs):
        results = run_module(imported.module, [inputs[spec.name] for spec in imported.signature.inputs])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    expected = session.run(None, dict(inputs))
    for spec, wanted, result in zip(imported.signature.outputs, expected, results, strict=True):
        assert spec.static_shape == wanted.shape
        assert result.dtype == wanted.dtype == np.dtype(spec.dtype)
        np.testing.assert_allclose(result, wanted, rtol=rtol, atol=atol, err_msg=spec.name)
    return imported


def check_node(
    op_type: str,
    inputs: Mapping[str, Array],
    constants: Mapping[str, Array] | None = None,
    outputs: int = 1,
    opset: int = 17,
    order: Sequence[str] | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    **attributes: Any,
) -> ImportedModel:
    """Assert that one operator computes what onnxruntime computes.

    Args:
        inputs: operands that the model takes.
        constants: operands that the model holds.
        order: the operands' order where it is not inputs, then constants; "" is one left out.
    """
    names = list(order) if order is not None else [*inputs, *(constants or {})]
    node = helper.make_node(op_type, names, [f"y{index}" for index in range(outputs)], **attributes)
    imported: ImportedModel = check_model(model_of([node], inputs, constants, opset=opset), inputs, rtol, atol)
    return imported


def check_reference(
    op_type: str,
    inputs: Mapping[str, Array],
    constants: Mapping[str, Array] | None = None,
    outputs: int = 1,
    opset: int = 17,
    domain: str = "",
    rtol: float = 1e-5,
    atol: float = 1e-6,
    **attributes: Any,
) -> None:
    """Assert that one operator computes what onnx's reference evaluator computes, for what onnxruntime does not take.

    The operands are the inputs, then the constants.
    """
    names = [*inputs, *(constants or {})]
    made = [f"y{index}" for index in range(outputs)]
    node = helper.make_node(op_type, names, made, domain=domain, **attributes)
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    results = [onnx.ValueInfoProto(name=name) for name in made]
    held = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    graph = helper.make_graph([node], "test", [tensor_input(*each) for each in inputs.items()], results, held)
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    expected = ReferenceEvaluator(model).run(None, dict(inputs))
    for value, array in zip(graph.output, expected, strict=True):
        value.CopyFrom(tensor_input(value.name, np.asarray(array)))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    results = run_module(import_model(model).module, list(inputs.values()))
    for name, wanted, result in zip(made, expected, results, strict=True):
        assert (result.shape, result.dtype) == (np.shape(wanted), np.asarray(wanted).dtype), name
        np.testing.assert_allclose(result, wanted, rtol=rtol, atol=atol, err_msg=name)


def normal(*shape: int, dtype: str = "float32", seed: int = 0) -> Array:
    """Return normally distributed numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def operator_names(imported: ImportedModel) -> list[str]:
    """Return the Relax operators of ``main`` in order, without their prefix."""
    (block,) = imported.module["main"].body.blocks
    return [binding.value.op.name.removeprefix("relax.") for binding in block.bindings if hasattr(binding.value, "op")]
