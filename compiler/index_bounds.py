"""How large the elements of a model's integer inputs may be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, ValueInfoProto

#: Operators that hand indices on unchanged.
_TRANSPARENT = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand"})
_LOOKUPS = frozenset({"Gather", "GatherElements"})


def index_bounds(model: Path) -> dict[str, int]:
    """Return, for inputs of an ONNX model that look rows of a constant up, how many rows there are.

    Args:
        model: the model's file; its external data is not read.
    """
    import onnx

    graph = onnx.load(str(model), load_external_data=False).graph
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = {value.name: _bound(value.name, readers, sizes) for value in _inputs(graph)}
    return {name: bound for name, bound in found.items() if bound}


def _inputs(graph: GraphProto) -> list[ValueInfoProto]:
    constants = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def _bound(name: str, readers: dict[str, list[NodeProto]], sizes: dict[str, tuple[int, ...]]) -> int:
    """Return the fewest rows that a value looks up in, 0 when it looks nothing up."""
    bounds: list[int] = []
    pending, seen = [name], {name}
    while pending:
        value = pending.pop()
        for node in readers.get(value, ()):
            if node.op_type in _LOOKUPS and node.input[1] == value and node.input[0] in sizes:
                axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
                bounds.append(sizes[node.input[0]][axis])
            elif node.op_type in _TRANSPARENT and node.input[0] == value and node.output[0] not in seen:
                seen.add(node.output[0])
                pending.append(node.output[0])
    return min(bounds, default=0)
