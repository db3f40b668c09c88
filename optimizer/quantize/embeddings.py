"""Tables of embeddings in few bits, and those that are a layer's weight as well."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from ..graph import Array, Graph
from .layers import Layer, attribute
from .scales import Affine, quantize, weight_scale

#: Smaller constants are left as they are.
LEAST_ELEMENTS = 4096


def find_tables(graph: Graph) -> list[tuple[NodeProto, Array]]:
    """Return the lookups of rows in large constant tables, each with its table."""
    found = []
    for node in graph.nodes:
        table = graph.constant(node.input[0]) if node.op_type == "Gather" else None
        if table is None or table.dtype != np.float32 or table.ndim != 2 or table.size < LEAST_ELEMENTS:
            continue
        if attribute(node, "axis", 0) == 0:
            found.append((node, table))
    return found


def tied_lookups(graph: Graph, layer: Layer) -> list[NodeProto]:
    """Return the lookups in the table that a layer multiplies with, each row the weights of one output channel.

    A language model's head often is its table of embeddings; exporters write it twice, or transposed.
    """
    if layer.weight.ndim != 2:
        return []
    rows = layer.weight if layer.axis == 0 else layer.weight.T
    return [node for node, table in find_tables(graph) if table.shape == rows.shape and np.array_equal(table, rows)]


def write_embeddings(graph: Graph) -> None:
    """Gather(table, i)  -->  Mul(Cast(Gather(table8, i)), Gather(scale, i)), a scale for each row of the table."""
    graph.reindex()
    for node, table in find_tables(graph):
        affine = weight_scale(table, 0)
        name, indices = node.input[0], node.input[1]
        rows = Affine(affine.scale, affine.zero_point, 0)
        parts = [
            graph.add_constant(f"{name}_quantized", quantize(table, rows)),
            graph.add_constant(f"{name}_scale", affine.scale[:, None]),
        ]
        integers, scale = (graph.node("Gather", [part, indices], f"{part}_gathered") for part in parts)
        floats = graph.node("Cast", [integers.output[0]], f"{name}_cast", to=TensorProto.FLOAT)
        product = helper.make_node("Mul", [floats.output[0], scale.output[0]], [node.output[0]], name=node.name)
        graph.insert(node, [integers, scale, floats, product])
        graph.remove(node)
