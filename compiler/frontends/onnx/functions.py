"""Operators defined by other operators: onnx's own function bodies and the functions that a model carries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TypeProto

from .graph_rows import find_graph_row
from .registry import find_row, normal_domain

FunctionKey = tuple[str, str]


def body_of(
    node: NodeProto,
    opsets: Mapping[str, int],
    functions: Mapping[FunctionKey, FunctionProto],
    operand_types: Sequence[TypeProto] | None,
) -> FunctionProto | None:
    """Return the function that defines a node's operator; None when there is none.

    A model's own function goes before onnx's.

    Args:
        operand_types: the types of the node's operands; None while they are not known, and then bodies
            that depend on them are not found.
    """
    own = functions.get((normal_domain(node.domain), node.op_type))
    if own is not None:
        return own
    schema = _schema(node, opsets)
    if schema is None:
        return None
    if schema.has_function:
        fixed: FunctionProto = schema.function_body
        return fixed
    if schema.has_context_dependent_function and operand_types is not None:
        data = schema.get_context_dependent_function(
            node.SerializeToString(), [each.SerializeToString() for each in operand_types]
        )
        return onnx.FunctionProto.FromString(data) if data else None
    return None


def body_nodes(node: NodeProto, body: FunctionProto, opsets: Mapping[str, int]) -> list[NodeProto]:
    """Return copies of a body's nodes with the attributes that refer to the calling node's replaced by their values."""
    schema = _schema(node, opsets)
    defaults = [] if schema is None else [each.default_value for each in schema.attributes.values()]
    given = {attribute.name: attribute for attribute in (*defaults, *body.attribute_proto, *node.attribute)}
    return [_bound(each, given) for each in body.node]


def body_opsets(body: FunctionProto, opsets: Mapping[str, int]) -> dict[str, int]:
    """Return the versions that a body's nodes are written in."""
    return {**opsets, **{normal_domain(entry.domain): entry.version for entry in body.opset_import}}


def without_absent(nodes: list[NodeProto], body: FunctionProto, given: Iterable[str]) -> list[NodeProto]:
    """Return a body's nodes, changed in place: parameters that a call leaves out are left out of their operands."""
    absent = set(body.input).difference(given)
    for node in nodes:
        for index, name in enumerate(node.input):
            if name in absent:
                node.input[index] = ""
    return nodes


def live_nodes(nodes: Iterable[NodeProto], outputs: Iterable[str]) -> list[NodeProto]:
    """Return the nodes, in order, on which the outputs depend."""
    needed = set(outputs)
    live = []
    for node in reversed(list(nodes)):
        if needed.intersection(node.output):
            live.append(node)
            needed.update(_reads(node))
    return live[::-1]


def unsupported_nodes(
    nodes: Iterable[NodeProto],
    constants: Iterable[str],
    opsets: Mapping[str, int],
    functions: Mapping[FunctionKey, FunctionProto],
) -> list[NodeProto]:
    """Return the nodes that no row, no function body and no folding can take.

    It tells constants from the graph alone, so that every node is named before the first is imported.
    """
    known = set(constants)
    missing = []
    for node in nodes:
        if node.op_type in ("Shape", "Size") or all(name in known for name in node.input if name):
            known.update(node.output)
        elif not _is_supported(node, known, opsets, functions):
            missing.append(node)
    return missing


def _is_supported(
    node: NodeProto,
    known: set[str],
    opsets: Mapping[str, int],
    functions: Mapping[FunctionKey, FunctionProto],
) -> bool:
    if node.op_type == "If" and node.input[0] in known:
        return True
    domain = normal_domain(node.domain)
    own = functions.get((domain, node.op_type))
    if own is None and find_graph_row(domain, node.op_type) is not None:
        return True
    if own is None and find_row(domain, node.op_type, opsets.get(domain, 1)) is not None:
        return True
    body = own or body_of(node, opsets, functions, None)
    if body is not None:
        inside = {name for name, outer in zip(body.input, node.input, strict=False) if outer in known}
        return not unsupported_nodes(body.node, inside, body_opsets(body, opsets), functions)
    schema = _schema(node, opsets)
    return schema is not None and bool(schema.has_context_dependent_function)


def reads_of(graph: GraphProto) -> list[str]:
    """Return the names that a body reads from outside, sorted."""
    return sorted(_captures(graph))


def _schema(node: NodeProto, opsets: Mapping[str, int]) -> Any:
    domain = normal_domain(node.domain)
    try:
        return onnx.defs.get_schema(node.op_type, opsets.get(domain, 1), domain)
    except onnx.defs.SchemaError:
        return None


def _bound(node: NodeProto, given: Mapping[str, AttributeProto]) -> NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    del copy.attribute[:]
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            copy.attribute.append(attribute)
        elif attribute.ref_attr_name in given:
            copy.attribute.append(given[attribute.ref_attr_name])
            copy.attribute[-1].name = attribute.name
    return copy


def _reads(node: NodeProto) -> set[str]:
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            names |= _captures(graph)
    return names


def _captures(graph: GraphProto) -> set[str]:
    names = {value.name for value in graph.output}
    made = {value.name for value in (*graph.input, *graph.initializer)}
    for node in graph.node:
        names |= _reads(node)
        made.update(node.output)
    return names - made
