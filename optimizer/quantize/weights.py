"""Weights only: weights kept in 8 or 4 bits and multiplied out where they are used; activations stay floats.

Needs no data, but can round better with it. Models whose time goes into reading weights run faster, all become smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from ...errors import UserError
from ..data import Sample
from ..graph import Array, Graph, at_least_opset
from .embeddings import LEAST_ELEMENTS, tied_lookups, write_embeddings
from .feedback import rounded_with_feedback, second_moments
from .folding import folded_graph
from .layers import Layer, find_layers
from .scales import LEAST_SCALE, quantize, weight_scale

#: Blocks of weights that share a scale came with this opset, and so did integers of four bits.
_BLOCKED_OPSET = 21
_SHRINKS = tuple(np.linspace(1.0, 0.7, 13))


@dataclass(frozen=True)
class Blocks:
    """How a product's weights share scales.

    Attributes:
        group: how many share one, along the product's sums.
        least: the least integer; the largest is ``-least - 1``.
        moments: second moments of the product's inputs, for rounding with feedback; None to round to the nearest.
    """

    group: int
    least: int
    moments: Array | None = None


def quantize_weights(
    model: ModelProto, path: Path, bits: int = 8, group: int = 32, samples: Sequence[Sample] = ()
) -> ModelProto:
    """Return a model with its large weights in few bits.

    x -> MatMul(w)  -->  x -> MatMul(DequantizeLinear(w8, scale))
    Gather(table, i)  -->  Mul(Cast(Gather(table8, i)), Gather(scale, i))
    Gather(table, i), MatMul(x, table^T)  -->  Gather(t, i), MatMul(x, t^T) where t = DequantizeLinear(table4, scale)

    Args:
        bits: 8 or 4; convolutions and embeddings that no product reads, which blocks suit badly, keep 8.
        group: how many weights of a product share a scale, along its sums; 0, at 8 bits, for one scale for each output
            channel, as all other layers have.
        samples: where there are any, weights in blocks are rounded with feedback for such inputs; those of tables of
            embeddings are not, whose rows are read as they are.
    """
    graph, layers = folded_graph(model, path)
    moments = second_moments(graph.finish(), layers, samples) if samples else {}
    large = [layer.name for layer in layers if layer.weight.size >= LEAST_ELEMENTS]
    in_blocks = {layer.name for layer in layers if layer.name in large and _divides(group, layer)}
    if in_blocks:
        try:
            graph = Graph(at_least_opset(graph.finish(), _BLOCKED_OPSET, path), path)
        except UserError:
            # Scales of channels say it in older operators.
            if bits == 4:
                raise
            in_blocks = set()
        layers = find_layers(graph)
    for layer in layers:
        if layer.name in large:
            tied = tied_lookups(graph, layer)
            known = None if tied else moments.get(layer.activation)
            grid = Blocks(group, -(1 << (bits - 1)), known) if layer.name in in_blocks else None
            _write_tied(graph, layer, tied, grid) if tied else _write(graph, layer, grid)
    write_embeddings(graph)
    return graph.finish()


def _divides(group: int, layer: Layer) -> bool:
    """Whether a layer is a product whose sums blocks of this size make up."""
    return bool(group) and layer.weight.ndim == 2 and layer.weight.shape[1 - layer.axis] % group == 0


def weight_notes(layers: Sequence[Layer], bits: int, group: int) -> tuple[str, ...]:
    """Return sentences on the layers that do not become what was asked for."""
    large = [layer for layer in layers if layer.weight.size >= LEAST_ELEMENTS]
    products = [layer for layer in large if layer.weight.ndim == 2]
    odd = [layer.name for layer in products if bits == 4 and not _divides(group, layer)]
    notes = []
    if len(large) < len(layers):
        few = [layer.name for layer in layers if layer.weight.size < LEAST_ELEMENTS]
        notes.append(f"{len(few)} layers stay floats, having fewer than {LEAST_ELEMENTS} weights ('{few[0]}')")
    if len(products) < len(large):
        count = len(large) - len(products)
        notes.append(
            f"the weights of {count} convolutions have 8 bits in the file and float32 in a library made of it: "
            "method default makes these faster"
        )
    if odd:
        notes.append(f"{len(odd)} layers keep 8 bits, for groups of {group} do not divide their sums ('{odd[0]}')")
    return tuple(notes)


def _write(graph: Graph, layer: Layer, grid: Blocks | None) -> None:
    weight = _dequantized(graph, layer.node.input[1], layer.weight, layer.axis, grid)
    graph.insert(layer.node, [weight])
    layer.node.input[1] = weight.output[0]


def _write_tied(graph: Graph, layer: Layer, lookups: list[NodeProto], grid: Blocks | None) -> None:
    """Let a product and the lookups in its weight read one table, a row for each output channel."""
    rows = layer.weight if layer.axis == 0 else layer.weight.T
    table = _dequantized(graph, lookups[0].input[0], rows, 0, grid)
    readers = [node for node in graph.nodes if node is layer.node or any(node is each for each in lookups)]
    graph.insert(readers[0], [table])
    for node in lookups:
        node.input[0] = table.output[0]
    if layer.axis == 0:
        layer.node.input[1] = table.output[0]
        return
    turned = graph.node("Transpose", [table.output[0]], f"{layer.name}_weight", perm=[1, 0])
    graph.insert(layer.node, [turned])
    layer.node.input[1] = turned.output[0]


def _dequantized(graph: Graph, name: str, weight: Array, axis: int, grid: Blocks | None) -> NodeProto:
    """Return what dequantizes a weight with output channels along ``axis``, its integers added to the graph."""
    if grid is None:
        affine = weight_scale(weight, axis)
        integers, scale, attributes = quantize(weight, affine), affine.scale, {"axis": axis}
    else:
        integers, scale = _in_blocks(weight, 1 - axis, grid)
        attributes = {"axis": 1 - axis, "block_size": grid.group}
    stored = _stored(graph, f"{name}_quantized", integers, grid is not None and grid.least == -8)
    inputs = [stored, graph.add_constant(f"{name}_scale", scale)]
    return graph.node("DequantizeLinear", inputs, f"{name}_dequantized", **attributes)


def _stored(graph: Graph, name: str, integers: Array, in_four_bits: bool) -> str:
    if not in_four_bits:
        return graph.add_constant(name, integers)
    packed = pack_int4(integers).tobytes()
    return graph.add_tensor(helper.make_tensor(graph.fresh(name), TensorProto.INT4, integers.shape, packed, raw=True))


def _in_blocks(weight: Array, axis: int, grid: Blocks) -> tuple[Array, Array]:
    """Return integers and scales of a weight whose product sums along an axis."""
    if grid.moments is None:
        return blocked(weight, axis, grid.group, grid.least)

    def scale_of(block: Array) -> Array:
        return np.asarray(blocked(block, 0, grid.group, grid.least)[1][0], np.float64)

    found = rounded_with_feedback(np.moveaxis(weight, axis, 0), grid.moments, grid.group, grid.least, scale_of)
    return np.moveaxis(found[0], 0, axis), np.moveaxis(found[1], 0, axis)


def blocked(weight: Array, axis: int, group: int, least: int = -8) -> tuple[Array, Array]:
    """Return integers from ``least`` to ``-least - 1`` and scales, one for every ``group`` weights along an axis.

    Every scale is the one of several that leaves the least square error: clipping the largest weight of a block often
    costs less than a coarser step for all of them. Scales are numbers of bfloat16, so that 16 bits hold each.
    """
    moved = np.moveaxis(weight, axis, -1)
    blocks = moved.reshape(*moved.shape[:-1], -1, group).astype(np.float64)
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=-1)[..., None], -1)
    best = np.full(extreme.shape, np.inf)
    scale = np.ones(extreme.shape)
    for shrink in _SHRINKS:
        # The extreme weight maps to the least integer, which has no positive twin: the scale may be negative.
        tried = extreme / least * shrink
        tried = _bfloat16(np.where(np.abs(tried) < LEAST_SCALE, 1.0, tried))
        error = np.square(np.clip(np.rint(blocks / tried), least, -least - 1) * tried - blocks).sum(
            axis=-1, keepdims=True
        )
        scale, best = np.where(error < best, tried, scale), np.minimum(error, best)
    integers = np.clip(np.rint(blocks / scale), least, -least - 1).astype(np.int8).reshape(moved.shape)
    return np.moveaxis(integers, -1, axis), np.moveaxis(scale[..., 0].astype(np.float32), -1, axis)


def _bfloat16(values: Array) -> Array:
    """Return numbers rounded to the eight significant bits of bfloat16."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float64)


def pack_int4(integers: Array) -> Array:
    """Return integers of four bits, two to a byte, the first in the low half; an odd last one is padded with zero."""
    flat = (np.ascontiguousarray(integers).reshape(-1).astype(np.int16) & 0xF).astype(np.uint8)
    flat = np.concatenate([flat, np.zeros(len(flat) % 2, np.uint8)])
    return np.asarray(flat[0::2] | (flat[1::2] << 4), np.uint8)
