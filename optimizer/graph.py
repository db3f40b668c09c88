"""An ONNX graph that is being changed: who makes and who reads a tensor, constants as arrays, fresh names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from ..compiler.files import write_file
from ..compiler.frontends.onnx.loading import PROTOBUF_LIMIT, check_model, load_model
from ..compiler.frontends.onnx.tensors import inline_external_data
from ..errors import UserError

Array = NDArray[Any]

_LEAST_OPSET = 13
_QUANTIZED = ("QuantizeLinear", "QLinear", "ConvInteger", "MatMulInteger", "MatMulNBits", "DynamicQuantizeLinear")


class Graph:
    """The main graph of a model with its indices; graphs inside If and Loop are left as they are.

    Args:
        model: is changed in place.
        path: the file it came from, for errors.
    """

    def __init__(self, model: ModelProto, path: Path) -> None:
        self.model = model
        self.path = path
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._names = {name for node in model.graph.node for name in (node.name, *node.input, *node.output)}
        self._names |= set(self._constants)
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.producer: dict[str, NodeProto] = {}
        self.consumers: dict[str, list[NodeProto]] = {}
        self.reindex()

    @property
    def graph(self) -> GraphProto:
        """The main graph."""
        return self.model.graph

    @property
    def outputs(self) -> list[str]:
        """The names of its outputs."""
        return [value.name for value in self.graph.output]

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators."""
        return next(int(entry.version) for entry in self.model.opset_import if entry.domain in ("", "ai.onnx"))

    def reindex(self) -> None:
        """Find producers and consumers again, after nodes were added or rewired."""
        self.producer = {name: node for node in self.nodes for name in node.output if name}
        self.consumers = {}
        for node in self.nodes:
            for name in dict.fromkeys((*node.input, *_captured(node))):
                if name:
                    self.consumers.setdefault(name, []).append(node)

    def is_constant(self, name: str) -> bool:
        """Whether a name is a constant of the model."""
        return name in self._constants

    def constant(self, name: str) -> Array | None:
        """Return a constant's elements, or None when the tensor is computed."""
        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def add_constant(self, name: str, array: Array) -> str:
        """Add a constant under a fresh name that starts like the one given, and return that name."""
        return self.add_tensor(numpy_helper.from_array(np.asarray(array, order="C"), self.fresh(name)))

    def add_tensor(self, tensor: onnx.TensorProto) -> str:
        """Add a constant of any element type, whose name must be free."""
        self._constants[tensor.name] = tensor
        self.graph.initializer.append(tensor)
        return tensor.name

    def fresh(self, name: str) -> str:
        """Return the name, or the name with a number, such that nothing else has it."""
        found, count = name, 1
        while found in self._names or found in self._constants:
            found, count = f"{name}_{count}", count + 1
        self._names.add(found)
        return found

    def node(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> NodeProto:
        """Return a new node with one output, both named freshly; it is not in the graph yet."""
        fresh = self.fresh(name)
        return helper.make_node(kind, list(inputs), [fresh], name=fresh, **attributes)

    def insert(self, position: NodeProto | None, nodes: Sequence[NodeProto]) -> None:
        """Insert nodes before one of the graph's, or at its end; the indices are found again by ``reindex``."""
        at = len(self.nodes) if position is None else next(i for i, each in enumerate(self.nodes) if each is position)
        self.nodes[at:at] = nodes

    def remove(self, node: NodeProto) -> None:
        """Take a node out."""
        del self.nodes[next(i for i, each in enumerate(self.nodes) if each is node)]

    def finish(self) -> ModelProto:
        """Return the model with the nodes as they are now, without constants that nobody reads."""
        self.reindex()
        nodes = [each.__deepcopy__() for each in self.nodes]
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        used = set(self.consumers) | set(self.outputs)
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        return self.model


def _captured(node: NodeProto) -> list[str]:
    """Return the names that graphs inside a node read."""
    names: list[str] = []
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            for each in inner.node:
                names += [*each.input, *_captured(each)]
    return names


def read_model(path: Path) -> ModelProto:
    """Return a float model ready to be changed: functions inlined, constants in one place, every node named.

    Raises:
        UserError: the file is no model, is quantized already, or is too large for one message.
    """
    model = load_model(path)
    check_model(path)
    for tensor in model.graph.initializer:
        inline_external_data(path, tensor)
    if model.ByteSize() > PROTOBUF_LIMIT:
        raise UserError(f"{path}: its weights are more than the 2 GiB that can be quantized in one piece")
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    quantized = next((node for node in model.graph.node if node.op_type.startswith(_QUANTIZED)), None)
    if quantized is not None:
        raise UserError(
            f"{path}: node '{quantized.name}' ({quantized.op_type}) shows that the model is quantized already: "
            "give the float model"
        )
    return at_least_opset(_tidy(model), _LEAST_OPSET, path)


def at_least_opset(model: ModelProto, opset: int, path: Path) -> ModelProto:
    """Return the model with ONNX's operators of at least a version. Raises UserError when onnx cannot convert it."""
    now = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if now >= opset:
        return model
    try:
        return onnx.version_converter.convert_version(model, opset)
    except Exception as error:  # the converter is native code with errors of its own
        line = str(error).strip().splitlines()[0]
        raise UserError(f"{path}: cannot be brought to opset {opset} ({line}): export it with that opset") from error


def _tidy(model: ModelProto) -> ModelProto:
    """Constant -> initializer; names for nodes without one."""
    graph = model.graph
    for position, node in reversed(list(enumerate(graph.node))):
        value = next((each for each in node.attribute if each.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            tensor = graph.initializer.add()
            tensor.CopyFrom(value.t)
            tensor.name = node.output[0]
            del graph.node[position]
    taken = {node.name for node in graph.node}
    for position, node in enumerate(graph.node):
        if not node.name:
            name = f"{node.op_type}_{position}"
            while name in taken:
                name += "_"
            taken.add(name)
            node.name = name
    return model


def copy_of(model: ModelProto) -> ModelProto:
    """Return a model of its own with the same contents."""
    copied = ModelProto()
    copied.CopyFrom(model)
    return copied


def save_model(model: ModelProto, path: Path) -> int:
    """Write a model, all or nothing, and return its size in bytes."""
    data = model.SerializeToString()
    write_file(path, lambda file: _write(file, data))
    return len(data)


def _write(file: Any, data: bytes) -> None:
    file.write(data)
