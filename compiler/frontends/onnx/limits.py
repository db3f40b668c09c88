"""How large a model may be, told before any of it is expanded: a small file can call functions without end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from onnx import FunctionProto, ModelProto, NodeProto

from ....errors import UserError
from .registry import normal_domain

#: A model may have this many nodes, those of bodies and of expanded functions included.
MOST_NODES = 50_000

#: A model may have this many bodies that are compiled as such.
MOST_BLOCKS = 1000

#: Functions may call functions to this depth.
_MOST_DEPTH = 100

Key = tuple[str, str]


def check_size(path: Path, model: ModelProto) -> None:
    """Raise UserError for a model that cannot be expanded.

    Its functions call themselves, it has more nodes than can be compiled, or its outputs are none or have one name.
    """
    functions = {(normal_domain(each.domain), each.name): each for each in model.functions}
    count = _Counter(path, functions).nodes(model.graph.node, ())
    if count > MOST_NODES:
        raise UserError(too_large(path))
    names = [each.name for each in model.graph.output]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path}: two outputs are named '{twice}': give each a name of its own")
    if not names:
        raise UserError(f"{path}: the model has no outputs, so there is nothing to compute")


def too_large(path: Path) -> str:
    """Return the sentence for a model of too many nodes."""
    return f"{path}: the model has more than {MOST_NODES} nodes, those of its functions and unrolled loops included"


class _Counter:
    """Counts nodes, each function's once."""

    def __init__(self, path: Path, functions: Mapping[Key, FunctionProto]) -> None:
        self.path, self.functions = path, functions
        self.known: dict[Key, int] = {}

    def nodes(self, nodes: Iterable[NodeProto], callers: tuple[Key, ...]) -> int:
        """Return how many nodes these are with all they hold and call."""
        return sum(self._node(each, callers) for each in nodes)

    def _node(self, node: NodeProto, callers: tuple[Key, ...]) -> int:
        count = 1
        for attribute in node.attribute:
            count += sum(self.nodes(graph.node, callers) for graph in (attribute.g, *attribute.graphs))
        key = (normal_domain(node.domain), node.op_type)
        return count + (self._function(key, callers) if key in self.functions else 0)

    def _function(self, key: Key, callers: tuple[Key, ...]) -> int:
        if key in callers:
            raise UserError(f"{self.path}: function '{key[1]}' calls itself{_by_way_of(callers, key)}")
        if len(callers) >= _MOST_DEPTH:
            raise UserError(f"{self.path}: its functions call one another more than {_MOST_DEPTH} deep")
        if key not in self.known:
            self.known[key] = self.nodes(self.functions[key].node, (*callers, key))
        return self.known[key]


def _by_way_of(callers: tuple[Key, ...], key: Key) -> str:
    between = [name for _, name in callers[callers.index(key) + 1 :]]
    return f" by way of '{between[0]}'" if between else ""
