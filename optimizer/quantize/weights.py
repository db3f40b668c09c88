"""Weights only: weights kept in 8 or 4 bits and multiplied out where they are used; activations stay floats.

Needs no data. Models whose time goes into reading weights run faster, all become smaller.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper

from ..graph import Array, Graph, at_least_opset
from .folding import folded_graph
from .layers import Layer, find_layers
from .scales import LEAST_SCALE, Affine, dequantize, quantize, weight_scale

#: Blocks of weights that share a scale came with this opset, and so did integers of four bits.
_BLOCKED_OPSET = 21
_LEAST_ELEMENTS = 4096
_GROUP_OF_BYTES = 128
_WORTH_BLOCKS = 3.0
_SHRINKS = tuple(np.linspace(1.0, 0.7, 13))


def quantize_weights(model: ModelProto, path: Path, bits: int = 8, group: int = 32) -> ModelProto:
    """Return a model with its large weights in few bits.

    x -> MatMul(w)  -->  x -> MatMul(DequantizeLinear(w8, scale))
    Gather(table, i)  -->  Mul(Cast(Gather(table8, i)), Gather(scale, i))

    Args:
        bits: 8 (a scale for each output channel; for every 128 weights where few large ones spoil whole channels) or 4
            (a scale for every ``group`` weights along the sums of matrix products; convolutions and embeddings, which
            such blocks suit badly, keep 8).
        group: how many weights share a scale at 4 bits.
    """
    graph, layers = folded_graph(model, path)
    size, least = (group, -8) if bits == 4 else (_GROUP_OF_BYTES, -128)
    large = [layer.name for layer in layers if layer.weight.size >= _LEAST_ELEMENTS]
    in_blocks = {
        layer.name
        for layer in layers
        if layer.name in large
        and layer.weight.ndim == 2
        and layer.weight.shape[1 - layer.axis] % size == 0
        and (bits == 4 or _spoiled(layer))
    }
    if in_blocks:
        graph = Graph(at_least_opset(graph.finish(), _BLOCKED_OPSET, path), path)
        layers = find_layers(graph)
    for layer in layers:
        if layer.name in in_blocks:
            _write_blocked(graph, layer, size, least)
        elif layer.name in large:
            _write_channels(graph, layer)
    write_embeddings(graph)
    return graph.finish()


def _write_channels(graph: Graph, layer: Layer) -> None:
    affine = weight_scale(layer.weight, layer.axis)
    name = layer.node.input[1]
    inputs = [
        graph.add_constant(f"{name}_quantized", quantize(layer.weight, affine)),
        graph.add_constant(f"{name}_scale", affine.scale),
    ]
    _replace_weight(graph, layer, inputs, axis=layer.axis)


def _spoiled(layer: Layer) -> bool:
    """Whether a scale for each channel leaves several times the noise of one for every block."""
    affine = weight_scale(layer.weight, layer.axis)
    coarse = np.square(dequantize(quantize(layer.weight, affine), affine) - layer.weight).sum()
    axis = 1 - layer.axis
    integers, scale = blocked(layer.weight, axis, _GROUP_OF_BYTES, -128)
    fine = np.square(integers * np.repeat(scale, _GROUP_OF_BYTES, axis) - layer.weight).sum()
    return bool(coarse > _WORTH_BLOCKS * fine)


def _write_blocked(graph: Graph, layer: Layer, group: int, least: int) -> None:
    axis = 1 - layer.axis
    integers, scale = blocked(layer.weight, axis, group, least)
    name = layer.node.input[1]
    if least == -8:
        packed = pack_int4(integers).tobytes()
        tensor = helper.make_tensor(
            graph.fresh(f"{name}_quantized"), TensorProto.INT4, integers.shape, packed, raw=True
        )
        stored = graph.add_tensor(tensor)
    else:
        stored = graph.add_constant(f"{name}_quantized", integers)
    inputs = [stored, graph.add_constant(f"{name}_scale", scale)]
    _replace_weight(graph, layer, inputs, axis=axis, block_size=group)


def _replace_weight(graph: Graph, layer: Layer, inputs: list[str], **attributes: int) -> None:
    node = graph.node("DequantizeLinear", inputs, f"{layer.node.input[1]}_dequantized", **attributes)
    graph.insert(layer.node, [node])
    layer.node.input[1] = node.output[0]


def blocked(weight: Array, axis: int, group: int, least: int = -8) -> tuple[Array, Array]:
    """Return integers from ``least`` to ``-least - 1`` and scales, one for every ``group`` weights along an axis.

    Every scale is the one of several that leaves the least square error: clipping the largest weight of a block often
    costs less than a coarser step for all of them.
    """
    moved = np.moveaxis(weight, axis, -1)
    blocks = moved.reshape(*moved.shape[:-1], -1, group).astype(np.float64)
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=-1)[..., None], -1)
    best = np.full(extreme.shape, np.inf)
    scale = np.ones(extreme.shape)
    for shrink in _SHRINKS:
        # The extreme weight maps to the least integer, which has no positive twin: the scale may be negative.
        tried = extreme / least * shrink
        tried = np.where(np.abs(tried) < LEAST_SCALE, 1.0, tried).astype(np.float32).astype(np.float64)
        error = np.square(np.clip(np.rint(blocks / tried), least, -least - 1) * tried - blocks).sum(
            axis=-1, keepdims=True
        )
        scale, best = np.where(error < best, tried, scale), np.minimum(error, best)
    integers = np.clip(np.rint(blocks / scale), least, -least - 1).astype(np.int8).reshape(moved.shape)
    return np.moveaxis(integers, -1, axis), np.moveaxis(scale[..., 0].astype(np.float32), -1, axis)


def pack_int4(integers: Array) -> Array:
    """Return integers of four bits, two to a byte, the first in the low half; an odd last one is padded with zero."""
    flat = (np.ascontiguousarray(integers).reshape(-1).astype(np.int16) & 0xF).astype(np.uint8)
    flat = np.concatenate([flat, np.zeros(len(flat) % 2, np.uint8)])
    return np.asarray(flat[0::2] | (flat[1::2] << 4), np.uint8)


def write_embeddings(graph: Graph) -> None:
    """Gather(table, i)  -->  Mul(Cast(Gather(table8, i)), Gather(scale, i)), a scale for each row of the table."""
    graph.reindex()
    for node in [each for each in graph.nodes if each.op_type == "Gather"]:
        table = graph.constant(node.input[0])
        axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
        if table is None or table.dtype != np.float32 or table.ndim != 2 or axis or table.size < _LEAST_ELEMENTS:
            continue
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
