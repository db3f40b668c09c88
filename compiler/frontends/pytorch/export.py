"""From an ExportedProgram to an ONNX file whose names are those of the module."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ....errors import UserError
from ..source import Shapes
from .bags import split_equal_bags
from .sentences import first_line

#: The newest operator set for which the exporter writes attention as products and a softmax, which are fused again.
OPSET = 20
#: A file of more than this many bytes of weights keeps them beside it; protobuf holds 2 GiB.
_INLINE = 2**30
_SCOPES = "pkg.torch.onnx.name_scopes"
_FAILED_NODE = re.compile(r"translating node %(\w+)")
#: What torch calls the place of operations that it made itself.
_NO_LAYER = "_empty_nn_module_stack"
_SYMBOL = re.compile(r"[su]\d+")


def write_program(shown: str, program: Any, dynamic_shapes: Any, path: Path) -> Shapes:
    """Write an ExportedProgram as an ONNX file; return the shapes of inputs whose dynamic dimensions have bounds.

    Bags in the program are rewritten in place (:mod:`.bags`), which changes nothing of what it computes.

    Nodes are called after their layer ("body.0"), outputs after their place in the result ("logits", "output.1").

    Raises UserError for what the exporter does not take, naming the layer.
    """
    import torch

    split_equal_bags(program)
    try:
        made = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, verbose=False, dynamic_shapes=dynamic_shapes
        )
    except Exception as error:
        raise UserError(
            f"{shown}: torch's ONNX exporter refuses the model{_layer_of(program, error)}: {first_line(_root(error))}; "
            "write that layer with operators that ONNX has"
        ) from error
    assert made is not None
    _name_nodes(made.model.graph)
    _name_outputs(made.model.graph.outputs, _output_names(program), {each.name for each in made.model.graph.inputs})
    names = _name_dims(made.model.graph.inputs)
    weights = sum(each.const_value.nbytes for each in made.model.graph.initializers.values() if each.const_value)
    made.save(str(path), external_data=weights > _INLINE)
    return _bounded(program, made.model.graph.inputs, names)


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _layer_of(program: Any, error: BaseException) -> str:
    """Return " at layer 'body.0' (torch.nn...)" for the node that an error of the exporter names, or ""."""
    match = _FAILED_NODE.search(str(error))
    node = _find_node(program, match[1]) if match else None
    stack = node.meta.get("nn_module_stack") if node is not None else None
    if not stack:
        return ""
    layer, kind = list(stack.values())[-1]
    return f" at layer '{layer or 'the whole module'}' ({kind if isinstance(kind, str) else kind.__qualname__})"


def _find_node(program: Any, name: str) -> Any:
    """Return a node by the exporter's name; one that was decomposed ("bessel_j0") by what it came from."""
    nodes = {node.name: node for node in program.graph.nodes}
    if name in nodes:
        return nodes[name]
    stem = name.rstrip("0123456789").rstrip("_") if re.search(r"_\d+$", name) else name
    return next((node for each, node in nodes.items() if stem in each), None)


def _name_nodes(graph: Any) -> None:
    """Call each node after its layer; further nodes of a layer after their operation, too: names are used once."""
    used: dict[str, int] = {}
    for node in graph.all_nodes():
        scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]")) or [node.name]
        layers = [each for each in scopes[:-1] if each and not each.startswith(_NO_LAYER)]
        name = layers[-1] if layers else scopes[-1]
        if name in used and layers:
            name = f"{name}/{scopes[-1]}"
        used[name] = used.get(name, 0) + 1
        node.name = name if used[name] == 1 else f"{name}#{used[name]}"


def _output_names(program: Any) -> list[str]:
    """Return the name of each leaf of the result: the keys on the way to it, joined by full stops."""
    from torch.utils import _pytree as pytree

    spec = program.call_spec.out_spec
    tree = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    leaves, _ = pytree.tree_flatten_with_path(tree)
    return [_dotted(keys) for keys, _ in leaves]


def _dotted(keys: tuple[Any, ...]) -> str:
    words = [str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in keys]
    return ".".join(words if words and not words[0].isdigit() else ["output", *words])


def _name_outputs(values: Any, names: list[str], taken: set[str]) -> None:
    # Leaves that are no tensors have no value in the graph, and then nothing says which is which.
    if len(values) != len(names) or len(set(names)) != len(names):
        return
    seen: set[int] = set()
    for value, name in zip(values, names, strict=True):
        if not value.is_graph_input() and id(value) not in seen and name not in taken:
            value.name = name
        seen.add(id(value))


def _name_dims(inputs: Any) -> dict[str, str]:
    """Give symbols that torch numbered ("s77") the name of the first input and axis that has them."""
    import onnx_ir

    names: dict[str, str] = {}
    for value in inputs:
        for axis, dim in enumerate(value.shape or ()):
            text = str(dim)
            if _SYMBOL.fullmatch(text):
                names.setdefault(text, f"{value.name}_dim{axis}")
    for value in inputs:
        dims = [dim if isinstance(dim, int) else _SYMBOL.sub(_replaced(names), str(dim)) for dim in value.shape or ()]
        value.shape = onnx_ir.Shape(dims)
    return names


def _replaced(names: Mapping[str, str]) -> Any:
    return lambda match: names.get(match[0], match[0])


def _bounded(program: Any, inputs: Any, names: Mapping[str, str]) -> Shapes:
    bounds = {dim: text for value in inputs for dim, text in _bounds_of(program, value)}
    shapes: dict[str, tuple[int | str, ...]] = {}
    for value in inputs:
        dims = [dim if isinstance(dim, int) else str(dim) for dim in value.shape or ()]
        if any(isinstance(dim, str) for dim in dims) and all(isinstance(dim, int) or dim in bounds for dim in dims):
            shapes[value.name] = tuple(dim if isinstance(dim, int) else bounds[dim] for dim in dims)
    return shapes


def _bounds_of(program: Any, value: Any) -> Iterator[tuple[str, str]]:
    """Yield each symbolic dimension of an input whose range torch knows, and how its bounds are written."""
    node = next((node for node in program.graph.nodes if node.op == "placeholder" and node.name == value.name), None)
    tensor = node.meta.get("val") if node is not None else None
    if tensor is None:
        return
    for dim, size in zip(value.shape or (), tensor.shape, strict=False):
        expression = getattr(getattr(size, "node", None), "expr", None)
        known = program.range_constraints.get(expression)
        if isinstance(dim, int) or known is None or not str(dim).isidentifier() or not _finite(known.upper):
            continue
        yield str(dim), f"{max(int(known.lower), 1)}<={dim}<={int(known.upper)}"


def _finite(bound: Any) -> bool:
    return str(bound).isdigit() and int(bound) < 2**31
