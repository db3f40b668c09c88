"""The converter of TensorFlow models, a program of its own: ``python script.py REQUEST.json``.

It imports nothing of this package. tf2onnx converts; this adds the model's own names of inputs, outputs and dimensions,
the operators that tf2onnx lacks, and sentences.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: The newest that tf2onnx writes.
_OPSET = 18
_DOMAINS = ("", "ai.onnx.ml", "com.microsoft")
_OWN_SIGNATURES = "__"


class Refused(Exception):
    """The model cannot be taken; the message is a sentence without the model's name."""


@dataclass
class Loaded:
    """A frozen graph and what its tensors are to be called.

    Attributes:
        graph: a GraphDef, or None where ``tflite`` names a file.
        inputs, outputs: names of tensors, in the model's order.
        names: the model's own names by tensor; where one is missing, the tensor's counts.
        batched: whether the first dimension of every input is the batch.
    """

    graph: Any
    inputs: list[str] | None
    outputs: list[str] | None
    names: dict[str, str] = field(default_factory=dict)
    batched: bool = False
    tflite: str | None = None


def convert(request: Mapping[str, Any]) -> None:
    """Convert the model of a request. Raises Refused."""
    if request["outputs"] and request["kind"] != "frozen":
        raise Refused("--outputs names where a frozen graph (.pb) ends; this model names its outputs itself")
    if request["signature"] and request["kind"] not in ("saved_model", "tflite"):
        raise Refused("--signature chooses among those of a SavedModel; this model has none")
    loaded = _LOADERS[request["kind"]](request)
    model = _to_onnx(loaded)
    _refuse_unknown(model)
    _name_dimensions(model, loaded.batched)
    Path(request["onnx"]).write_bytes(model.SerializeToString())


def _saved_model(request: Mapping[str, Any]) -> Loaded:
    import tensorflow as tf
    from tf2onnx import tf_loader

    try:
        signatures = tf.saved_model.load(request["model"], tags=["serve"]).signatures
    except Exception as error:
        raise Refused(f"not a SavedModel with the tag 'serve': {_line(error)}") from error
    known = [name for name in signatures if not name.startswith(_OWN_SIGNATURES)]
    if set(known) == {"serve", "serving_default"}:
        # Keras' export() gives one function both names.
        known.remove("serve" if request["signature"] != "serve" else "serving_default")
    chosen = _chosen(request["signature"], known)
    graph, inputs, outputs, names = tf_loader.from_saved_model(
        request["model"], None, None, ["serve"], [chosen], return_tensors_to_rename=True
    )
    return Loaded(graph, inputs, outputs, names)


def _chosen(asked: str | None, known: list[str]) -> str:
    listed = ", ".join(f"'{name}'" for name in sorted(known))
    if not known:
        raise Refused("the SavedModel has no signatures: save it with tf.saved_model.save(..., signatures=...)")
    if asked is None and len(known) > 1:
        raise Refused(f"it has {len(known)} signatures, {listed}: choose one with --signature")
    if asked is not None and asked not in known:
        raise Refused(f"it has no signature '{asked}': it has {listed}")
    return asked or known[0]


def _keras(request: Mapping[str, Any]) -> Loaded:
    import keras
    import tensorflow as tf
    from tf2onnx import tf_loader

    model = _load_keras(request["model"])
    if not getattr(model, "inputs", None):
        raise Refused(
            "a subclassed Keras model does not say what its inputs are: save it with model.export(folder) and compile "
            "the folder"
        )
    # The layer's name is saved; that of its tensor is counted anew at every load where the author gave none.
    names = [each._keras_history.operation.name for each in model.inputs]
    results: list[str] = []

    def call(*tensors: Any) -> list[Any]:
        packed = (
            tensors[0] if isinstance(model, keras.Sequential) else keras.tree.pack_sequence_as(model.input, tensors)
        )
        made = keras.tree.flatten_with_path(model(packed, training=False))
        results[:] = _result_names([path for path, _ in made], list(model.output_names))
        return [tf.identity(tensor) for _, tensor in made]

    specs = [tf.TensorSpec(each.shape, each.dtype, f"input_{i}") for i, each in enumerate(model.inputs)]
    function = tf.function(call).get_concrete_function(*specs)
    inputs = [each.name for each in function.inputs if each.dtype != tf.resource]
    outputs = [each.name for each in function.outputs]
    graph = tf_loader.from_function(function, inputs, outputs)
    return Loaded(graph, inputs, outputs, dict(zip([*inputs, *outputs], [*names, *results], strict=True)), batched=True)


def _load_keras(path: str) -> Any:
    import keras

    try:
        if not path.endswith(".keras"):
            _refuse_code(path)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"Keras cannot load the model: {_line(error)}") from error


def _refuse_code(path: str) -> None:
    """Refuse an HDF5 file of weights only, or with layers that hold Python code."""
    import h5py

    with h5py.File(path, "r") as file:
        config = file.attrs.get("model_config")
    if config is None:
        raise Refused("it holds weights without the network: save the whole model with model.save('model.keras')")
    text = config.decode() if isinstance(config, bytes) else str(config)
    if any(word in text for word in ('"Lambda"', '"__lambda__"')):
        raise Refused(
            "one of its layers is a Lambda, Python code that would run here: write it as a keras.Layer, or save the "
            "model with model.export(folder) and compile the folder"
        )


def _result_names(paths: list[tuple[Any, ...]], layers: list[str]) -> list[str]:
    """Name results by their keys in the model's result; those of lists and tuples by the layer that made them."""
    named = [".".join(map(str, path)) for path in paths]
    if any(not name or name[0].isdigit() for name in named) and len(set(layers)) == len(named):
        return layers
    return [name if name and not name[0].isdigit() else f"output_{name or 0}" for name in named]


def _frozen(request: Mapping[str, Any]) -> Loaded:
    import tensorflow as tf
    from tf2onnx import tf_loader

    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(Path(request["model"]).read_bytes())
    except Exception as error:
        raise Refused("not a frozen TensorFlow graph (it is not a GraphDef)") from error
    variables = [node.name for node in graph.node if node.op in ("VariableV2", "VarHandleOp", "Variable")]
    if not graph.node or variables:
        why = f"it holds the variable '{variables[0]}'" if variables else "it holds no nodes"
        raise Refused(f"not a frozen TensorFlow graph ({why}): compile the SavedModel it came from")
    outputs = [_tensor(name) for name in request["outputs"] or _ends(graph)]
    known = {node.name for node in graph.node}
    for name in outputs:
        if name.partition(":")[0] not in known:
            raise Refused(f"the graph has no node '{name.partition(':')[0]}', which --outputs names")
    inputs = [_tensor(node.name) for node in graph.node if node.op == "Placeholder"]
    with tf.Graph().as_default():
        graph = tf_loader.tf_optimize(inputs, outputs, graph)
    kept = {node.name for node in graph.node}
    inputs = [name for name in inputs if name.partition(":")[0] in kept]
    return Loaded(graph, inputs, outputs, {name: name.removesuffix(":0") for name in [*inputs, *outputs]})


def _tensor(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def _ends(graph: Any) -> Iterator[str]:
    """Yield the nodes whose results nothing uses."""
    used = {name.lstrip("^").partition(":")[0] for node in graph.node for name in node.input}
    for node in graph.node:
        if node.name not in used and node.op not in ("Const", "NoOp", "Assert", "Placeholder"):
            yield node.name


def _tflite(request: Mapping[str, Any]) -> Loaded:
    import tensorflow as tf

    try:
        interpreter = tf.lite.Interpreter(request["model"])
        signatures = interpreter.get_signature_list()
    except Exception as error:
        raise Refused(f"not a TFLite model: {_line(error)}") from error
    if len(signatures) > 1:
        listed = ", ".join(f"'{name}'" for name in signatures)
        raise Refused(f"it has {len(signatures)} signatures, {listed}: convert it to TFLite with one signature")
    if request["signature"] and request["signature"] not in signatures:
        raise Refused(f"it has no signature '{request['signature']}': it has {', '.join(signatures) or 'none'}")
    names: dict[str, str] = {}
    for signature in signatures:
        runner = interpreter.get_signature_runner(signature)
        for details in (runner.get_input_details(), runner.get_output_details()):
            names.update((each["name"], name) for name, each in details.items())
    return Loaded(None, None, None, names, tflite=request["model"])


def _to_onnx(loaded: Loaded) -> Any:
    from tf2onnx.convert import _convert_common

    given = {"tflite_path": loaded.tflite} if loaded.tflite else {}
    try:
        model, _ = _convert_common(
            loaded.graph,
            name="model",
            continue_on_error=True,
            opset=_OPSET,
            input_names=loaded.inputs,
            output_names=loaded.outputs,
            tensors_to_rename=loaded.names,
            custom_op_handlers={"Erfc": (_erfc, []), "TFL_GELU": (_gelu, [])},
            **given,
        )
    except Exception as error:
        raise Refused(f"tf2onnx cannot convert the model: {_line(error)}") from error
    return model


def _erfc(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """erfc(x) --> 1 - erf(x): exact GELU is written with it, and ONNX has no such operator."""
    import numpy as np

    dtype = graph.get_dtype(node.output[0])
    one = graph.make_const(f"{name}_one", np.ones((), _numpy_type(dtype)))
    shape, outputs = graph.get_shape(node.output[0]), list(node.output)
    graph.remove_node(node.name)
    erf = graph.make_node("Erf", node.input[:1], dtypes=[dtype], shapes=[shape])
    graph.make_node("Sub", [one.output[0], erf.output[0]], name=name, outputs=outputs, dtypes=[dtype], shapes=[shape])


def _gelu(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """TFLite's GELU --> x / 2 * (1 + erf(x / sqrt 2)), or the one with tanh."""
    import numpy as np

    dtype, shape, outputs = graph.get_dtype(node.output[0]), graph.get_shape(node.output[0]), list(node.output)
    x, rounded = node.input[0], bool(node.get_attr_value("approximate", False))
    graph.remove_node(node.name)

    def number(value: float) -> str:
        return str(graph.make_const(f"{name}_{value}", np.array(value, _numpy_type(dtype))).output[0])

    def op(kind: str, *operands: str) -> str:
        return str(graph.make_node(kind, list(operands), dtypes=[dtype], shapes=[shape]).output[0])

    if rounded:
        cube = op("Mul", op("Mul", op("Mul", x, x), x), number(0.044715))
        inner = op("Tanh", op("Mul", op("Add", x, cube), number(math.sqrt(2 / math.pi))))
    else:
        inner = op("Erf", op("Mul", x, number(math.sqrt(0.5))))
    half = op("Mul", x, number(0.5))
    last = [half, op("Add", inner, number(1.0))]
    graph.make_node("Mul", last, name=name, outputs=outputs, dtypes=[dtype], shapes=[shape])


def _numpy_type(dtype: int) -> Any:
    from onnx.helper import tensor_dtype_to_np_dtype

    return tensor_dtype_to_np_dtype(dtype)


def _refuse_unknown(model: Any) -> None:
    import onnx

    unknown = [
        f"{node.op_type} (node '{node.name}')"
        for node in _nodes(model.graph)
        if node.domain not in _DOMAINS or not (node.domain or onnx.defs.has(node.op_type))
    ]
    if unknown:
        raise Refused(
            f"{len(unknown)} TensorFlow operator(s) have no counterpart in ONNX: {', '.join(unknown[:8])}; write these "
            "layers with other operators"
        )


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _name_dimensions(model: Any, batched: bool) -> None:
    """Call an unknown dimension after its input and axis, and the first of every input "batch" where that is known.

    tf2onnx numbers them ("unk__7"), and gives results others than the inputs: those are left to shape inference.
    """
    for value in model.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value") or dim.dim_value < 0:
                dim.dim_param = "batch" if batched and axis == 0 else f"{value.name}_dim{axis}"
    for value in [*model.graph.output, *model.graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value") or dim.dim_value < 0:
                dim.Clear()


def _line(error: BaseException) -> str:
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line[:300].rstrip(".")


_LOADERS: dict[str, Callable[[Mapping[str, Any]], Loaded]] = {
    "saved_model": _saved_model,
    "keras": _keras,
    "frozen": _frozen,
    "tflite": _tflite,
}


def main() -> None:
    """Convert what the request says; write the answer."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer = {}
    try:
        convert(request)
    except Refused as error:
        answer["refused"] = str(error)
    Path(request["answer"]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
