"""Inputs that are sequences or optionals: each tensor in them becomes an input of its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx
from onnx import GraphProto, TypeProto, ValueInfoProto

from ....errors import UserError
from .graph_rows import Sequence

#: A sequence has this many elements at the most.
_MOST_ELEMENTS = 1024


def split_inputs(path: Path, graph: GraphProto, given: Iterable[str]) -> dict[str, list[str]]:
    """Replace a graph's inputs that are sequences by their elements, named ``name.0``, ``name.1``, ...

    How many a sequence has, the shapes given say. An optional input is there: it becomes what it may hold.

    Args:
        given: the names for which the user gives shapes.

    Returns:
        the names of the elements of every sequence.

    Raises UserError for a sequence without shapes, and for one of anything but tensors.
    """
    names = set(given)
    sequences: dict[str, list[str]] = {}
    inputs: list[ValueInfoProto] = []
    for value in graph.input:
        kind = _without_optional(value.type)
        if kind.WhichOneof("value") != "sequence_type":
            inputs.append(_tensor(value.name, kind))
            continue
        count = next(at for at in range(_MOST_ELEMENTS + 1) if f"{value.name}.{at}" not in names)
        if not count or kind.sequence_type.elem_type.WhichOneof("value") != "tensor_type":
            raise UserError(
                f"{path}: input '{value.name}' is a sequence: give the shape of each of its tensors, for example "
                f'--input-shapes "{value.name}.0:[1,3] {value.name}.1:[2,3]"'
            )
        sequences[value.name] = [f"{value.name}.{at}" for at in range(count)]
        inputs += [_element(name, kind.sequence_type.elem_type) for name in sequences[value.name]]
    if sequences or any(value.type.WhichOneof("value") == "optional_type" for value in graph.input):
        del graph.input[:]
        graph.input.extend(inputs)
    return sequences


def join_inputs(scope: dict[str, Any], sequences: dict[str, list[str]]) -> None:
    """Add the sequences to the values of a graph that has their elements."""
    for name, elements in sequences.items():
        scope[name] = Sequence(tuple(scope[each] for each in elements))


def _without_optional(kind: TypeProto) -> TypeProto:
    return kind.optional_type.elem_type if kind.WhichOneof("value") == "optional_type" else kind


def _element(name: str, kind: TypeProto) -> ValueInfoProto:
    """Return an element's description; a symbol stands for another size in each."""
    value = _tensor(name, kind)
    for dim in value.type.tensor_type.shape.dim:
        dim.ClearField("dim_param")
    return value


def _tensor(name: str, kind: TypeProto) -> ValueInfoProto:
    value = onnx.ValueInfoProto(name=name)
    value.type.CopyFrom(kind)
    return value
