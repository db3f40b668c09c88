"""The walk over a graph: each node is folded, converted by its row, or expanded into its function body."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TypeProto
from onnx.helper import make_tensor_type_proto, np_dtype_to_tensor_dtype
from tvm import relax
from tvm.error import DiagnosticError, InternalError, OpError

from ....atoms import Undecided, plain
from ....dims import Dim
from ....errors import UnsupportedOperators, UserError
from ....shapes import is_static
from ....signature import Signature, TensorSpec
from ....tvm_names import constant_value, dtype_of, is_constant, shape_of
from ..model import ImportedModel
from .folding import can_fold, fold, fold_shape, inferred_types, static_dims
from .function_builder import FunctionBuilder, identifier
from .functions import body_nodes, body_of, body_opsets, live_nodes, unsupported_nodes, without_absent
from .graph_rows import GraphNode, GraphRow, find_graph_row, is_tensor_value, leaves_of
from .interface import resolve_inputs
from .limits import MOST_NODES, check_size, too_large
from .loading import check_model, condensed, load_model
from .node import Node, constant
from .registry import find_row, normal_domain
from .sequence_inputs import join_inputs, split_inputs
from .shape_values import ShapeValue, fold_shape_values, shape_tensor, shape_value
from .strings import holds_strings, numbered, reads_labels, refuse_labels
from .tensors import to_array

Array = NDArray[Any]
#: A value of the graph: an array while it is constant, a ShapeValue while it follows from the inputs' shapes, else an
#: expression of the function being built.
Value = Any
Scope = MutableMapping[str, Value]

#: Constants up to this many elements are shown to onnx's shape inference, which reads shapes and axes from them.
_SHAPE_DATA = 1024

#: A tensor of more elements than this is a mistake, or an attack.
_MOST_ELEMENTS = 2**31

#: What rows raise where operands or attributes that onnx's inference lets pass do not fit together.
_MISFITS = (
    ArithmeticError, IndexError, MemoryError, TypeError, ValueError, DiagnosticError, InternalError, OpError,
)  # fmt: skip

#: Operators whose result's shape onnx infers wrongly: before opset 22 it counts windows that begin in the end padding,
#: and it takes STFT to be two-sided where the model does not say.
_SHAPE_UNSURE = frozenset({"AveragePool", "LpPool", "MaxPool", "STFT"})

#: Operators whose constant operands may be tensors of one element, which onnx's inference refuses where it is a scalar
#: that the specification names.
_STRICTLY_INFERRED = frozenset({"Range"})


def import_onnx(path: str | Path, input_shapes: Mapping[str, tuple[int | str, ...]] | None = None) -> ImportedModel:
    """Import an ONNX file.

    Args:
        path: the file; external data is read from its folder only.
        input_shapes: shapes for inputs with symbolic dimensions, by name; a dimension is a number, a symbol with its
            bound ("batch<=32", "0<=past<=64") or an expression over symbols ("past + 1").

    Returns:
        The model in canonical Relax (see docs/design/0001-the-main-road.md): all shapes static or polynomials over
        symbols, all constant subgraphs folded.

    Raises:
        UserError: the file, its contents or the shapes given cannot be taken; the message says why.
        UnsupportedOperators: some operators cannot be taken; it lists all of them.
    """
    path = Path(path)
    try:
        model = load_model(path)
        check_size(path, model)
        sequences = split_inputs(path, model.graph, input_shapes or {})
        inputs = resolve_inputs(path, model.graph, dict(input_shapes or {}))
        importer = _Importer(path, model)
        importer.refuse_unsupported()
        check_model(path)
        return importer.run(inputs, sequences)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a valid ONNX model: it holds a name that is not UTF-8 text") from error


class _Importer:
    def __init__(self, path: Path, model: ModelProto) -> None:
        self.path = path
        self.graph = model.graph
        self.opsets = {normal_domain(entry.domain): entry.version for entry in model.opset_import}
        self.functions = {(normal_domain(f.domain), f.name): f for f in model.functions}
        self.nodes = live_nodes(model.graph.node, [value.name for value in model.graph.output])
        self.builder = FunctionBuilder()
        self.walked = 0
        self.constants: dict[int, tuple[Array, relax.Expr]] = {}
        self.shape_values: dict[relax.Expr, ShapeValue] = {}

    def refuse_unsupported(self) -> None:
        """Raise UnsupportedOperators when the graph holds nodes that nothing can take."""
        constants = [tensor.name for tensor in self.graph.initializer]
        missing = unsupported_nodes(self.nodes, constants, self.opsets, self.functions)
        if missing:
            raise UnsupportedOperators(
                str(self.path), [(self._operator(node, self.opsets), _name(node)) for node in missing]
            )

    def run(self, inputs: Sequence[TensorSpec], sequences: dict[str, list[str]]) -> ImportedModel:
        """Build the module; ``sequences`` names the inputs of which sequences are made."""
        scope: dict[str, Value] = {t.name: to_array(self.path, t) for t in self.graph.initializer}
        # What has no elements is known before it is given.
        scope.update((spec.name, _folded(self.builder.parameter(spec))) for spec in inputs)
        join_inputs(scope, sequences)
        self._walk(self.nodes, scope, self.opsets, None)
        values = [(value.name, self._result(scope, value.name)) for value in self.graph.output]
        named = [each for name, value in values for each in self._tensors(name, value)]
        results = [self._expr(value, name) for name, value in named]
        outputs = tuple(
            TensorSpec(name, shape_of(expr), dtype_of(expr), labels=self.builder.labels.get(expr, ()))
            for (name, _), expr in zip(named, results, strict=True)
        )
        signature = Signature(tuple(inputs), outputs)
        return ImportedModel(identifier(self.path.stem), self.builder.module(results), signature, self.builder.origins)

    def _tensors(self, name: str, value: Value) -> list[tuple[str, Value]]:
        """Return the tensors of an output with their names: those of a sequence are ``name.0``, ``name.1``, ..."""
        if is_tensor_value(value):
            return [(name, value)]
        leaves = leaves_of(value)
        if not leaves:
            raise UserError(f"{self.path}: output '{name}' is an optional or a sequence that holds nothing")
        return [(f"{name}.{index}", leaf) for index, leaf in enumerate(leaves)]

    def _result(self, scope: Scope, name: str) -> Value:
        if name not in scope:
            raise UserError(f"{self.path}: no node computes the output '{name}'")
        return scope[name]

    def _walk(self, nodes: Iterable[NodeProto], scope: Scope, opsets: Mapping[str, int], label: str | None) -> None:
        for node in nodes:
            self.walked += 1
            if self.walked > MOST_NODES:
                raise UserError(too_large(self.path))
            called = label or f"{node.op_type} '{_name(node)}'"
            try:
                results = self._import(node, scope, opsets, called)
            except UserError as error:
                if str(error).startswith(str(self.path)):
                    raise
                raise UserError(f"{self.path}: node {called}: {error}") from error
            for name, value in zip((name for name in node.output if name), results, strict=True):
                scope[name] = value

    def _import(self, node: NodeProto, scope: Scope, opsets: Mapping[str, int], label: str) -> list[Value]:
        domain = normal_domain(node.domain)
        operands = {name: self._operand(scope, name) for name in node.input if name}
        graph_row = find_graph_row(domain, node.op_type)
        if graph_row is not None and (domain, node.op_type) not in self.functions:
            refuse_labels(operands.values(), self.builder.labels)
            return self._graph_row(graph_row, GraphNode(self, node, scope, opsets, label))
        if not all(map(is_tensor_value, operands.values())):
            if node.op_type == "Identity":
                return list(operands.values())
            raise UserError("one of its operands is a sequence or an optional, where a tensor is needed")
        operands, labels = numbered(node, operands, self.builder.labels)
        if labels and node.op_type in ("Cast", "Identity"):
            return [next(iter(operands.values()))]
        types = {name: _type_of(value) for name, value in operands.items()}
        arrays = {name: value for name, value in operands.items() if isinstance(value, np.ndarray)}
        reads = reads_labels(node, operands, self.builder.labels)
        inferred = {} if reads else self._infer(node, types, arrays, opsets)
        folded = self._fold(node, operands, arrays, opsets, inferred)
        if folded is not None:
            return list(folded)
        of_shapes = self._fold_shapes(node, operands)
        if of_shapes is not None:
            return [of_shapes]
        row = find_row(domain, node.op_type, opsets.get(domain, 1))
        if row is None or (domain, node.op_type) in self.functions:
            return self._expand(node, operands, types, opsets, label)
        view = self._view(node, opsets.get(domain, 1), label)
        arguments = [self._expr(operands[each], each, label) if each else None for each in node.input]
        results = self._convert(row.convert, view, arguments)
        self._check(node, results, inferred, label)
        self.builder.labels.update({each: labels for each in results if labels})
        return [_folded(expr) for expr in results]

    def _view(self, node: NodeProto, opset: int, label: str) -> Node:
        """Return a node as its row sees it."""
        builder, name = self.builder, next(name for name in node.output if name)
        return Node(
            node,
            opset,
            label,
            lambda expr: builder.emit(expr, name, label),
            self.shape_values,
            builder.unique,
            builder.definition,
            builder.sizes,
            builder.labels,
        )

    def _convert(self, convert: Any, view: Node, arguments: list[relax.Expr | None]) -> list[Value]:
        while arguments and arguments[-1] is None:
            arguments.pop()
        try:
            made = convert(view, *arguments)
            wanted = [made] if isinstance(made, relax.Expr) else list(made)
            return [
                self._bound(each, view)
                for index, each in enumerate(wanted)
                if index < len(view.proto.output) and view.proto.output[index]
            ]
        except UserError:
            raise
        except Undecided as error:
            raise UserError(f"{error}; give a fixed size for it with --input-shapes") from error
        except _MISFITS as error:
            raise UserError(
                f"it cannot be imported, because its operands and attributes do not fit together ({condensed(error)}); "
                "if other runtimes take the model, report it"
            ) from error

    def _bound(self, expr: relax.Expr, view: Node) -> relax.Expr:
        return expr if isinstance(expr, relax.Var) or not isinstance(expr, relax.Call) else view.emit(expr)

    def _fold(
        self,
        node: NodeProto,
        operands: Mapping[str, Value],
        arrays: Mapping[str, Array],
        opsets: Mapping[str, int],
        inferred: Mapping[str, TypeProto],
    ) -> list[Array] | None:
        if node.op_type in ("Shape", "Size") and is_static(_type_shape(operands[node.input[0]])):
            shape = fold_shape(node, _type_shape(operands[node.input[0]]))
            return None if shape is None else [shape]
        own = (normal_domain(node.domain), node.op_type) in self.functions
        if own or len(arrays) != len(operands) or not can_fold(node):
            return None
        try:
            return fold(node, arrays, opsets, inferred)
        except Exception as error:
            raise UserError(f"its constant operands cannot be evaluated: {condensed(error)}") from error

    def _fold_shapes(self, node: NodeProto, operands: Mapping[str, Value]) -> Value | None:
        """Return the result of a node that computes with shapes alone."""
        if node.op_type in ("Shape", "Size"):
            shape = _type_shape(operands[node.input[0]])
            cut = {attribute.name: attribute.i for attribute in node.attribute}
            if node.op_type == "Size":
                return shape_value(np.asarray(math.prod(shape), object))
            return shape_value(shape[cut.get("start", 0) : cut.get("end")])
        if not any(isinstance(each, ShapeValue) for each in operands.values()):
            return None
        try:
            return fold_shape_values(node, operands)
        except Undecided:
            return None

    def _infer(
        self,
        node: NodeProto,
        types: Mapping[str, TypeProto],
        arrays: Mapping[str, Array],
        opsets: Mapping[str, int],
    ) -> dict[str, TypeProto]:
        small = {n: a for n, a in arrays.items() if a.size <= _SHAPE_DATA and a.dtype.kind in "iufb"}
        try:
            inferred = inferred_types(node, types, small, opsets)
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
            if node.op_type in _STRICTLY_INFERRED and len(arrays) == len(types):
                return {}
            raise UserError(f"its operands do not fit it: {condensed(error)}") from error
        for name, each in inferred.items():
            dims = [dim for dim in static_dims(each) or () if dim is not None]
            if min(dims, default=0) < 0 or math.prod(dims) > _MOST_ELEMENTS:
                raise UserError(f"its result '{name}' of shape {dims} is too large, or its sizes are negative")
        return inferred

    def _check(self, node: NodeProto, results: Sequence[Value], inferred: Mapping[str, TypeProto], label: str) -> None:
        """Raise RuntimeError where a row and onnx's shape inference disagree: one of them is wrong, and silently so."""
        if node.op_type in _SHAPE_UNSURE:
            return
        for name, expr in zip((name for name in node.output if name), results, strict=True):
            shape, dims = shape_of(expr), static_dims(inferred[name]) if name in inferred else None
            if dims is None:
                continue
            if len(dims) != len(shape) or any(
                d not in (None, s) for d, s in zip(dims, shape, strict=True) if not isinstance(s, Dim)
            ):
                raise RuntimeError(f"{self.path}: node {label}: '{name}' was imported as {shape}, onnx infers {dims}")

    def _graph_row(self, row: GraphRow, node: GraphNode) -> list[Value]:
        results = row(node)
        if len(node.proto.output) > len(results):
            raise UserError(f"it has {len(node.proto.output)} results, but gives {len(results)}")
        named = [value for value, name in zip(results, node.proto.output, strict=False) if name]
        for leaf in (leaf for value in named for leaf in leaves_of(value)):
            if math.prod(_type_shape(leaf)) > _MOST_ELEMENTS:
                raise UserError(f"a result of shape {list(_type_shape(leaf))} is too large")
        return [_folded(each) if isinstance(each, relax.Expr) else each for each in named]

    def body(
        self, graph: GraphProto, bound: Mapping[str, Value], scope: Mapping[str, Value], node: GraphNode
    ) -> list[Value]:
        """Import a body at this place, with its inputs bound; return its results."""
        inner = {**scope, **{tensor.name: to_array(self.path, tensor) for tensor in graph.initializer}, **bound}
        nodes = live_nodes(graph.node, [value.name for value in graph.output])
        self._refuse_below(nodes, inner, node.opsets, node.label)
        self._walk(nodes, inner, node.opsets, None)
        return [self._result(inner, value.name) for value in graph.output]

    def expr(self, value: Value) -> relax.Expr:
        """Return a tensor as an expression."""
        return self._expr(value)

    def _expand(
        self,
        node: NodeProto,
        operands: Mapping[str, Value],
        types: Mapping[str, TypeProto],
        opsets: Mapping[str, int],
        label: str,
    ) -> list[Value]:
        operand_types = [types.get(name, onnx.TypeProto()) for name in node.input]
        body: FunctionProto | None = body_of(node, opsets, self.functions, operand_types)
        if body is None:
            raise UnsupportedOperators(str(self.path), [(self._operator(node, opsets), _name(node))])
        inner: Scope = {name: operands[outer] for name, outer in zip(body.input, node.input, strict=False) if outer}
        versions = body_opsets(body, opsets)
        nodes = live_nodes(without_absent(body_nodes(node, body, opsets), body, inner), body.output)
        self._refuse_below(nodes, inner, versions, label)
        self._walk(nodes, inner, versions, label)
        return [inner[name] for name, outer in zip(body.output, node.output, strict=False) if outer]

    def _refuse_below(self, nodes: Iterable[NodeProto], scope: Scope, opsets: Mapping[str, int], label: str) -> None:
        constants = [name for name, value in scope.items() if isinstance(value, np.ndarray)]
        missing = unsupported_nodes(nodes, constants, opsets, self.functions)
        if missing:
            raise UnsupportedOperators(
                str(self.path), [(self._operator(n, opsets), f"{_name(n)} in {label}") for n in missing]
            )

    def _operand(self, scope: Scope, name: str) -> Value:
        if name not in scope:
            raise UserError(f"its operand '{name}' is computed nowhere before it")
        return scope[name]

    def _expr(self, value: Value, name: str = "shape", label: str = "Shape") -> relax.Expr:
        if isinstance(value, ShapeValue):
            expr = shape_tensor(value, lambda each: self.builder.emit(each, name, label))
            self.shape_values[expr] = value
            return expr
        if not isinstance(value, np.ndarray):
            return value
        if holds_strings(value):
            raise UserError(f"{self.path}: '{name}' holds strings, which cannot be compiled where numbers are needed")
        if id(value) not in self.constants:
            made = constant(value)
            made = self.builder.emit(made, "constant", "") if isinstance(made, relax.Call) else made
            self.constants[id(value)] = (value, made)
        return self.constants[id(value)][1]

    def _operator(self, node: NodeProto, opsets: Mapping[str, int]) -> str:
        domain = normal_domain(node.domain)
        return f"{domain or 'ai.onnx'}.{node.op_type} (opset {opsets.get(domain, 1)})"


def _name(node: NodeProto) -> str:
    return node.name or next((name for name in node.output if name), "")


def _folded(expr: relax.Expr) -> Value:
    """Return a row's result as an array where it is known at import: a constant, or a tensor without elements."""
    if 0 in shape_of(expr):
        return np.zeros(shape_of(expr), np.dtype(dtype_of(expr)))
    return constant_value(expr) if is_constant(expr) else expr


def _type_shape(value: Value) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, np.ndarray | ShapeValue) else shape_of(value)


def _type_of(value: Value) -> TypeProto:
    dtype = np.dtype(value.dtype if isinstance(value, np.ndarray | ShapeValue) else dtype_of(value))
    shape = [plain(dim) if isinstance(dim, Dim) else dim for dim in _type_shape(value)]
    return make_tensor_type_proto(np_dtype_to_tensor_dtype(dtype), shape)
