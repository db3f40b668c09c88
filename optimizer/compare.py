"""``tilewright compare``: layer by layer, where the outputs of two versions of a model part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto

from ..compiler.frontends.onnx.loading import check_model, load_model
from ..compiler.frontends.onnx.tensors import inline_external_data
from ..errors import UserError
from .data import input_specs, load_samples
from .difference import differences

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


@dataclass(frozen=True)
class Parting:
    """How far one tensor of the changed model lies from the original's.

    Attributes:
        node, operator: what makes it in the original.
        tensor: its name in the original; ``counterpart`` in the changed model.
        sqnr: signal to noise in decibels, with all errors of earlier layers.
        added: by how much its ratio of noise to signal exceeds the worst of the tensors that the node reads.
        cosine: of the angle between both.
        largest: the largest absolute error, relative to the largest magnitude of the original.
        output: whether it is an output of the model.
    """

    node: str
    operator: str
    tensor: str
    counterpart: str
    sqnr: float
    added: float
    cosine: float
    largest: float
    output: bool


@dataclass(frozen=True)
class Comparison:
    """The tensors that both models have, in the original's order, and those of the original without a counterpart."""

    original: str
    changed: str
    samples: int
    partings: tuple[Parting, ...]
    unmatched: tuple[str, ...]

    @property
    def worst_first(self) -> tuple[Parting, ...]:
        """The tensors, the one where most is lost first."""
        return tuple(sorted(self.partings, key=lambda each: (-each.added, each.sqnr)))


def compare_models(
    original: Path, changed: Path, data: str, *, preprocessing: Path | None = None, samples: int = 16
) -> Comparison:
    """Run two models on the same samples with all tensors kept, and compare those that correspond.

    Tensors correspond where their names are equal, or else where nodes of the same name and operator make them; so do
    the models' outputs in their order.

    Raises:
        UserError: a model cannot be read or run, its inputs differ from the other's, or no tensors correspond.
    """
    one, other = _read(original), _read(changed)
    specs = input_specs(one)
    theirs = {spec.name for spec in input_specs(other)}
    missing = next((spec.name for spec in specs if spec.name not in theirs), None)
    if missing is not None or len(theirs) != len(specs):
        raise UserError(f"{changed}: its inputs are not those of {original}: {', '.join(sorted(theirs))}")
    pairs = match(one, other)
    if not pairs:
        raise UserError(f"{changed} and {original} have no tensor or node name in common: nothing can be compared")
    found = differences(one, other, pairs, loaded := load_samples(data, specs, preprocessing, samples))
    noise = {name: 10 ** (-each.sqnr / 10) for name, each in found.items()}
    outputs = {value.name for value in one.graph.output}
    partings = []
    for node in one.graph.node:
        for name in node.output:
            if name in pairs:
                each = found[name]
                before = max((noise[source] for source in node.input if source in noise), default=0.0)
                added = max(0.0, noise[name] - before) if before < math.inf else 0.0
                peak = each.largest / each.peak if each.peak else each.largest
                partings.append(
                    Parting(
                        node.name, node.op_type, name, pairs[name], each.sqnr, added, each.cosine, peak, name in outputs
                    )
                )
    unmatched = tuple(name for node in one.graph.node for name in node.output if name and name not in pairs)
    return Comparison(original.name, changed.name, len(loaded), tuple(partings), unmatched)


def match(original: ModelProto, changed: ModelProto) -> dict[str, str]:
    """Return the float tensors of the original that have a counterpart, each with that counterpart's name."""
    ours, theirs = _float_tensors(original), _float_tensors(changed)
    by_node = {(node.name, node.op_type): node for node in changed.graph.node if node.name}
    pairs = {name: name for name in ours if name in theirs}
    for node in original.graph.node:
        twin = by_node.get((node.name, node.op_type))
        for name, counterpart in zip(node.output, twin.output if twin else (), strict=False):
            # A name that both models have means the same tensor in both, whatever node makes it.
            if name in ours and counterpart in theirs and counterpart not in ours:
                pairs.setdefault(name, counterpart)
    for mine, their in zip(original.graph.output, changed.graph.output, strict=False):
        if mine.name in ours and their.name in theirs:
            pairs.setdefault(mine.name, their.name)
    return pairs


def _float_tensors(model: ModelProto) -> set[str]:
    """Return the tensors that nodes of the main graph make and that inference takes for floats, or cannot tell."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    kinds = {
        value.name: value.type.tensor_type.elem_type if value.type.HasField("tensor_type") else -1
        for value in (*inferred.value_info, *inferred.output)
    }
    constants = ("Constant", "DequantizeLinear", "QuantizeLinear")
    names = [name for node in model.graph.node if node.op_type not in constants for name in node.output if name]
    return {name for name in names if kinds.get(name, TensorProto.FLOAT) in _FLOATS}


def _read(path: Path) -> ModelProto:
    model = load_model(path)
    check_model(path)
    for tensor in model.graph.initializer:
        inline_external_data(path, tensor)
    return model


def parting_rows(partings: Sequence[Parting]) -> list[tuple[str, ...]]:
    """Return the rows of a table: node, operator, tensor, and the figures as text."""
    return [
        (
            each.node or "-",
            each.operator,
            each.tensor + (" (output)" if each.output else ""),
            f"{each.sqnr:.1f} dB",
            f"{100 * each.added:.2g} %",
            f"{each.cosine:.6f}",
            f"{each.largest:.2e}",
        )
        for each in partings
    ]


#: The heads of that table.
PARTING_HEADS = ("node", "operator", "tensor", ">SQNR", ">noise added", ">cosine", ">error / max")
