"""If, Loop and Scan: decided at import where the condition is known, else calls of blocks.

See docs/design/0005-control-flow.md.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from typing import Any

import numpy as np
from onnx import GraphProto

from ....errors import UserError
from ....passes.control_flow import branch
from ....tvm_names import dtype_of, shape_of
from .blocks import Block, fields_of, make_block, same_types, written
from .branch_shapes import branches_of_several_shapes
from .graph_rows import GraphNode, graph_operator, is_tensor_value, structure_of, with_leaves
from .loops import LoopNode
from .node import positive_axis
from .scanning import moved_axis, slice_of, stacked
from .shape_values import ShapeValue


@graph_operator("If")
def _if(node: GraphNode) -> list[Any]:
    (condition,) = node.operands()
    _check_scalar(condition, "bool", "condition")
    if isinstance(condition, np.ndarray):
        return node.body(node.graph("then_branch" if condition.item() else "else_branch"), {})
    blocks = node.importer.builder.block_names()
    then, otherwise = (make_block(node, name, node.graph(name)) for name in ("then_branch", "else_branch"))
    _check_branches(node, then, otherwise)
    if not same_types(then.types, otherwise.types):
        node.importer.builder.keep_blocks(blocks)
        return branches_of_several_shapes(node, condition, then, otherwise)
    from tvm.relax import TupleType

    captures = (then.captures, otherwise.captures)
    call = branch(then.name, otherwise.name, condition, captures, TupleType(list(then.types)))
    leaves = fields_of(node, call, len(then.types))
    return [with_leaves(each, leaves) for each in then.results]


def _check_branches(node: GraphNode, then: Block, otherwise: Block) -> None:
    if [structure_of(each) for each in then.results] != [structure_of(each) for each in otherwise.results]:
        raise UserError("its branches give different numbers of values, and its condition is not known at compile time")
    for index, (one, other) in enumerate(zip(then.types, otherwise.types, strict=True)):
        if one.dtype != other.dtype or len(one.shape.values) != len(other.shape.values):
            name = node.proto.output[index] if index < len(node.proto.output) else str(index)
            raise UserError(
                f"its branches give '{name}' different ranks or element types ({written(one)} and "
                f"{written(other)}), and its condition is not known at compile time: make them equal, or the "
                "condition constant"
            )


@graph_operator("Loop")
def _loop(node: GraphNode) -> list[Any]:
    operands = [*node.operands(), None, None]
    count = max(len(node.proto.input) - 2, 0)
    trips, condition, initial = operands[0], operands[1], operands[2 : 2 + count]
    graph = node.graph("body")
    results = len(graph.output) - 1
    if len(graph.input) != 2 + count or results < count or len(node.proto.output) > results:
        raise UserError(
            f"its body has {len(graph.input)} inputs and {len(graph.output)} outputs, which do not fit its "
            f"{len(node.proto.input)} operands and {len(node.proto.output)} results"
        )
    if trips is not None:
        _check_scalar(trips, "int64", "trip count")
    if condition is not None:
        _check_scalar(condition, "bool", "condition")
    if any(each is None for each in initial):
        raise UserError("a carried value has no initial value")
    whole = LoopNode(
        node, graph, initial, trips=trips, condition=condition, counts=True, backwards=(0,) * (results - count)
    )
    return whole.run()


@graph_operator("Scan")
def _scan(node: GraphNode) -> list[Any]:
    batched = node.opsets.get("", 1) < 9
    operands = node.operands()
    if batched and operands and operands.pop(0) is not None:
        raise UserError("lengths of sequences in a Scan are not supported: leave that operand out")
    graph = node.graph("body")
    scanned = int(node.attribute("num_scan_inputs", 0))
    states = len(operands) - scanned
    results = len(graph.output) - states
    if not 0 < scanned <= len(operands) or len(graph.input) != len(operands) or results < 0:
        raise UserError(
            f"its body has {len(graph.input)} inputs and {len(graph.output)} outputs, which do not fit its "
            f"{len(operands)} operands, {scanned} of them scanned"
        )
    if any(each is None or not is_tensor_value(each) for each in operands):
        raise UserError("each of its operands must be a tensor")
    backwards = [
        *_per(node, "directions" if batched else "scan_input_directions", scanned),
        *_per(node, "scan_output_directions", results),
    ]
    if batched:
        return _batches(node, graph, operands, states, backwards)
    axes = _per(node, "scan_input_axes", scanned)
    tensors = [
        moved_axis(node, each, _axis(node, each, axis), 0) for each, axis in zip(operands[states:], axes, strict=True)
    ]
    made = LoopNode(node, graph, operands[:states], scanned=tensors, backwards=backwards).run()
    places = _per(node, "scan_output_axes", results)
    whole = [
        moved_axis(node, each, 0, _axis(node, each, axis)) for each, axis in zip(made[states:], places, strict=True)
    ]
    return [*made[:states], *whole]


def _batches(
    node: GraphNode, graph: GraphProto, operands: Several[Any], states: int, backwards: Several[int]
) -> list[Any]:
    """A Scan of opset 8: every operand has a batch axis before its own, and each element is scanned for itself."""
    batches = {_shape(each)[:1] for each in operands}
    if len(batches) != 1 or batches == {()}:
        raise UserError("its operands have different numbers of sequences, or no axis of sequences")
    made = []
    for batch in range(*batches.pop()):
        parts = [slice_of(node, each, batch) for each in operands]
        made.append(LoopNode(node, graph, parts[:states], scanned=parts[states:], backwards=backwards).run())
    return [stacked(node, list(each)) for each in zip(*made, strict=True)]


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, np.ndarray | ShapeValue) else shape_of(value)


def _axis(node: GraphNode, value: Any, axis: int) -> int:
    return positive_axis(axis, len(_shape(value)))


def _per(node: GraphNode, name: str, count: int) -> list[int]:
    """Return an attribute with an integer for each scanned tensor or result, zeros by default."""
    found = [int(each) for each in node.attribute(name, [0] * count)]
    if len(found) != count:
        raise UserError(f"its attribute '{name}' has {len(found)} entries where {count} are needed")
    return found


def _check_scalar(value: Any, dtype: str, what: str) -> None:
    if value is None or not is_tensor_value(value):
        raise UserError(f"its {what} is not a tensor")
    shape = _shape(value)
    kind = str(value.dtype) if isinstance(value, np.ndarray | ShapeValue) else dtype_of(value)
    if kind != dtype or int(np.prod(shape)) != 1:
        raise UserError(f"its {what} must be one element of {dtype}, not {kind} {list(shape)}")
