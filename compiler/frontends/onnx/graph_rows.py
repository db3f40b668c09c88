"""Operators that hold graphs, or whose values are no tensors: their rows see the importer, not only their operands."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from onnx import GraphProto, NodeProto
from onnx.helper import get_attribute_value

from ....errors import UserError
from .function_builder import FunctionBuilder


@dataclass(frozen=True)
class Sequence:
    """A sequence whose length is known: its values in order, each an array, an expression, or a sequence."""

    items: tuple[Any, ...]


class Nothing:
    """An optional that holds nothing."""


class Importer(Protocol):
    """What the rows need of the importer."""

    builder: FunctionBuilder

    def body(self, graph: GraphProto, bound: Mapping[str, Any], scope: Mapping[str, Any], node: GraphNode) -> list[Any]:
        """Import a body here; return its results."""

    def expr(self, value: Any) -> Any:
        """Return a tensor as an expression."""


@dataclass(frozen=True)
class GraphNode:
    """A node being imported, with all that surrounds it.

    Attributes:
        importer: imports bodies.
        proto: the node.
        scope: every value that the node, and its bodies, can read.
        opsets: the version of each domain.
        label: what errors call the node.
    """

    importer: Importer
    proto: NodeProto
    scope: Mapping[str, Any]
    opsets: Mapping[str, int]
    label: str

    def operands(self) -> list[Any]:
        """Return the operands, None for those left out. Raises UserError for one that nothing computes."""
        return [self._operand(name) for name in self.proto.input]

    def _operand(self, name: str) -> Any:
        if name and name not in self.scope:
            raise UserError(f"its operand '{name}' is computed nowhere before it")
        return self.scope[name] if name else None

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute's value, the default where the node does not state it."""
        found = next((each for each in self.proto.attribute if each.name == name), None)
        return default if found is None else get_attribute_value(found)

    def graph(self, name: str) -> GraphProto:
        """Return an attribute that is a graph. Raises UserError where there is none."""
        found = self.attribute(name)
        if not isinstance(found, GraphProto):
            raise UserError(f"it has no graph '{name}'")
        return found

    def body(self, graph: GraphProto, bound: Mapping[str, Any]) -> list[Any]:
        """Import a body in place, its inputs bound to values; return its results."""
        return self.importer.body(graph, bound, self.scope, self)

    def emit(self, expr: Any) -> Any:
        """Bind an expression."""
        name = next((name for name in self.proto.output if name), self.proto.op_type)
        return self.importer.builder.emit(expr, name, self.label)


#: From a node to its results, those that its outputs name.
GraphRow = Callable[[GraphNode], list[Any]]
_ROWS: dict[str, GraphRow] = {}
_FAMILIES = ("control_flow", "sequences")


def graph_operator(*names: str) -> Callable[[GraphRow], GraphRow]:
    """Return a decorator that registers a function as the row of operators of ai.onnx."""

    def decorate(row: GraphRow) -> GraphRow:
        _ROWS.update(dict.fromkeys(names, row))
        return row

    return decorate


def find_graph_row(domain: str, name: str) -> GraphRow | None:
    """Return the row of an operator, None for operators of plain tensors."""
    _load_families()
    return _ROWS.get(name) if domain == "" else None


@cache
def _load_families() -> Any:
    return [importlib.import_module(f".{name}", __package__) for name in _FAMILIES]


def is_tensor_value(value: Any) -> bool:
    """Return whether a value is a tensor, known or computed."""
    return not isinstance(value, Sequence | Nothing)


def leaves_of(value: Any) -> list[Any]:
    """Return the tensors of a value, in order."""
    if isinstance(value, Sequence):
        return [leaf for item in value.items for leaf in leaves_of(item)]
    return [] if isinstance(value, Nothing) else [value]


def with_leaves(value: Any, leaves: list[Any]) -> Any:
    """Return a value of the same structure with other tensors, which are taken from the front of the list."""
    if isinstance(value, Sequence):
        return Sequence(tuple(with_leaves(item, leaves) for item in value.items))
    return value if isinstance(value, Nothing) else leaves.pop(0)


def structure_of(value: Any) -> Any:
    """Return a value's structure, equal for values that have their tensors in the same places."""
    if isinstance(value, Sequence):
        return tuple(structure_of(item) for item in value.items)
    return "nothing" if isinstance(value, Nothing) else "tensor"


def known(value: Any) -> bool:
    """Return whether all of a value is known at import."""
    return all(isinstance(leaf, np.ndarray) for leaf in leaves_of(value))
