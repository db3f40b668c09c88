"""Placement: which tensors are quantized so that the chosen layers, and what stands between them, compute in integers.

The input of a chosen layer is quantized. Upstream of it, operators that keep values (pooling by maximum, reshapes) are
crossed, so that both their sides are integers of one scale; joins of convolutions (add, concat, average pooling) get
integer operands. What feeds a join or a layer through an activation only is left in the accumulators of the layer
before it. Products of two activations, softmax and normalizations stay in floats.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from onnx import NodeProto

from ..graph import Graph
from .layers import Layer

#: Operators whose output holds values of their input 0 and nothing else.
_CARRIERS = ("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")
_JOINS = ("Add", "Concat", "AveragePool", "GlobalAveragePool")
_ACTIVATIONS = ("Relu", "Clip")
_CONVOLUTIONS = ("Conv", "ConvTranspose")


@dataclass
class Placement:
    """What is quantized.

    Attributes:
        tensors: names of quantized tensors, each to the tensor whose range it shares (often itself).
        readers: (node name, tensor) pairs: these nodes read the dequantized integers.
    """

    tensors: dict[str, str] = field(default_factory=dict)
    readers: set[tuple[str, str]] = field(default_factory=set)


def place(graph: Graph, layers: Sequence[Layer], excluded: Collection[str] = ()) -> Placement:
    """Return the placement that quantizes all layers but those excluded, by node name."""
    placement = Placement()
    chosen = [layer for layer in layers if layer.name not in excluded]
    convolved = _convolved(graph, {layer.name for layer in chosen})
    for layer in chosen:
        _read_quantized(graph, placement, layer.node, layer.activation)
    # A join is worth integers when what reads it does: quantizing its operands may make further joins so.
    waiting = [node for node in reversed(graph.nodes) if node.op_type in _JOINS and node.output[0] in convolved]
    for node in waiting:
        if _feeds_integers(graph, placement, node):
            for name in node.input:
                if not graph.is_constant(name):
                    _read_quantized(graph, placement, node, name)
    return placement


def _read_quantized(graph: Graph, placement: Placement, node: NodeProto, tensor: str) -> None:
    placement.readers.add((node.name, tensor))
    placement.tensors[tensor] = _root(graph, placement, tensor)


def _root(graph: Graph, placement: Placement, tensor: str) -> str:
    """Return the tensor whose range a tensor shares, quantizing the inputs of carriers on the way."""
    producer = graph.producer.get(tensor)
    if producer is None or producer.op_type not in _CARRIERS or graph.is_constant(producer.input[0]):
        return tensor
    source = producer.input[0]
    placement.readers.add((producer.name, source))
    placement.tensors[source] = _root(graph, placement, source)
    return placement.tensors[source]


def _convolved(graph: Graph, chosen: Collection[str]) -> set[str]:
    """Return the tensors that quantized convolutions make, alone or through activations and joins."""
    found: set[str] = set()
    for node in graph.nodes:
        if node.op_type in _CONVOLUTIONS:
            reached = node.name in chosen
        elif node.op_type in (*_JOINS, "MaxPool"):
            reached = all(name in found for name in node.input if name)
        else:
            reached = node.op_type in _ACTIVATIONS and node.input[0] in found
        if reached:
            found.update(node.output[:1])
    return found


def _feeds_integers(graph: Graph, placement: Placement, node: NodeProto) -> bool:
    tensor = node.output[0]
    while tensor not in placement.tensors:
        readers = graph.consumers.get(tensor, [])
        if len(readers) != 1 or readers[0].op_type not in _ACTIVATIONS:
            return False
        tensor = readers[0].output[0]
    return True
