"""Preparation: a float model with samples, ranges and statistics, from which quantized models are made."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto

from ..data import Sample
from ..graph import Graph, copy_of
from .calibration import Range, Statistics, observe
from .embeddings import write_embeddings
from .equalization import equalize
from .folding import folded_graph
from .layers import Layer, find_layers
from .placement import Placement, place
from .qdq import write_pairs
from .smoothing import smooth


@dataclass(frozen=True)
class Recipe:
    """How a model is made ready and quantized.

    Attributes:
        observer: a row of ``OBSERVERS``.
        smoothing: the strength of smoothing, 0 for none; None to choose it for every tensor.
        equalize: whether neighbouring convolutions trade scales.
        correct_bias: whether biases make up for the mean error of the weights.
        least_sqnr: matrix products whose activations, rounded to bytes, would be louder than that, in decibels, keep
            them in floats; their weights are bytes all the same. 0 for none.
    """

    observer: str = "minmax"
    smoothing: float | None = None
    equalize: bool = False
    correct_bias: bool = True
    least_sqnr: float = 33.0


@dataclass(frozen=True)
class Prepared:
    """A calibrated float model.

    Attributes:
        model: the float model, folded, smoothed and equalized: it computes what the original does.
        layers: names of its layers, in order.
        loud: names of those whose activations stay floats.
    """

    model: ModelProto
    path: Path
    recipe: Recipe
    layers: tuple[str, ...]
    loud: frozenset[str]
    ranges: dict[str, Range]
    statistics: dict[str, Statistics]

    def quantized(self, excluded: Collection[str] = (), *, embeddings: bool = False) -> ModelProto:
        """Return the model with every layer in integers but those excluded, by name.

        Args:
            embeddings: whether tables of embeddings are kept in eight bits too.
        """
        graph = Graph(copy_of(self.model), self.path)
        layers = find_layers(graph)
        placement = place(graph, layers, {*excluded, *self.loud})
        write_pairs(
            graph,
            [layer for layer in layers if layer.name not in excluded],
            placement,
            self.ranges,
            self.statistics,
            weights_only=self.loud,
            correct_bias=self.recipe.correct_bias,
        )
        if embeddings:
            write_embeddings(graph)
        return graph.finish()


def prepare(model: ModelProto, path: Path, samples: Sequence[Sample], recipe: Recipe) -> Prepared:
    """Fold, equalize, smooth and calibrate a model. Raises UserError when it has no layer to quantize."""
    graph, layers = folded_graph(model, path)
    if recipe.equalize:
        equalize(graph, layers)
        layers = find_layers(graph)
    loud: frozenset[str] = frozenset()
    if (recipe.smoothing != 0 or recipe.least_sqnr) and any(layer.node.op_type == "MatMul" for layer in layers):
        inputs = {layer.activation: -1 for layer in layers if layer.node.op_type == "MatMul"}
        statistics, _ = observe(copy_of(graph.finish()), inputs, samples)
        loud = smooth(graph, layers, statistics, recipe.smoothing, recipe.least_sqnr)
        layers = find_layers(graph)
    ready = graph.finish()
    statistics, ranges = observe(ready, _observed(place(graph, layers, loud), layers), samples, recipe.observer)
    return Prepared(ready, path, recipe, tuple(layer.name for layer in layers), loud, ranges, statistics)


def _observed(placement: Placement, layers: Sequence[Layer]) -> dict[str, int]:
    """Return every tensor whose range or statistics are needed, with the axis of its channels.

    A placement of fewer layers quantizes no other tensors, and each shares the range of the same one.
    """
    tensors = {name: 1 for names in placement.tensors.items() for name in names}
    return tensors | {layer.activation: layer.row.input_axis for layer in layers}
