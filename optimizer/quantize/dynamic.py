"""Dynamic quantization: matrix products whose activations get their scale anew in every run; needs no data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from ...errors import UserError
from ..graph import Graph
from .folding import folded_graph
from .layers import Layer, attribute
from .scales import quantize, weight_scale


def quantize_dynamically(model: ModelProto, path: Path) -> ModelProto:
    """Return a model with integer matrix products.

    x -> MatMul(w)  -->  xq, s, z = DynamicQuantizeLinear(x); Cast(MatMulInteger(xq, w8, z)) * (s * scale)

    Gemm becomes the same with its bias added. Convolutions stay floats. Raises UserError when there is no product.
    """
    graph, layers = folded_graph(model, path)
    products = [layer for layer in layers if layer.node.op_type in ("MatMul", "Gemm")]
    if not products:
        raise UserError(
            f"{path}: dynamic quantization is for matrix products, and the model has none: use another method"
        )
    quantized: dict[str, NodeProto] = {}
    for layer in products:
        tensor = layer.activation
        if tensor not in quantized:
            quantized[tensor] = _dynamic(graph, tensor)
            graph.insert(layer.node, [quantized[tensor]])
        _replace(graph, layer, quantized[tensor])
    return graph.finish()


def _dynamic(graph: Graph, tensor: str) -> NodeProto:
    node = graph.node("DynamicQuantizeLinear", [tensor], f"{tensor}_quantized")
    node.output.extend(graph.fresh(f"{tensor}_{each}") for each in ("scale", "zero_point"))
    return node


def _replace(graph: Graph, layer: Layer, dynamic: NodeProto) -> None:
    node = layer.node
    affine = weight_scale(layer.weight, layer.axis)
    integers = quantize(layer.weight, affine)
    if attribute(node, "transB", 0):
        integers = integers.T
    weight = graph.add_constant(f"{node.input[1]}_quantized", np.ascontiguousarray(integers))
    scale = graph.add_constant(f"{node.input[1]}_scale", affine.scale)
    values, step, zero = dynamic.output
    product = graph.node("MatMulInteger", [values, weight, zero], f"{node.name}_integer")
    floats = graph.node("Cast", [product.output[0]], f"{node.name}_cast", to=TensorProto.FLOAT)
    scales = graph.node("Mul", [scale, step], f"{node.name}_scales")
    result = graph.node("Mul", [floats.output[0], scales.output[0]], f"{node.name}_scaled")
    nodes = [product, floats, scales, result]
    if layer.bias:
        nodes.append(graph.node("Add", [result.output[0], layer.bias], f"{node.name}_biased"))
    nodes[-1].output[0] = node.output[0]
    graph.insert(node, nodes)
    graph.remove(node)
