"""Inspect: what is in a model file, and which of it cannot be compiled."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from onnx.helper import tensor_dtype_to_np_dtype

from ..errors import UserError
from ..signature import TensorSpec
from ..targets.database import load_target
from .frontends import ModelSource, onnx_file
from .frontends.onnx.functions import live_nodes, unsupported_nodes
from .frontends.onnx.loading import load_model
from .frontends.onnx.registry import normal_domain

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto, ValueInfoProto


@dataclass(frozen=True)
class ModelContents:
    """What is in an ONNX model.

    Attributes:
        producer: the program that wrote it.
        opsets: versions of operator sets by domain; "" is ONNX's own.
        weights: how many constant tensors there are.
        weight_bytes: their size.
        operators: pairs of operator and count, the commonest first.
        unsupported: pairs of operator and node name that cannot be compiled, in the model's order.
        in_floats: pairs of a node that quantized tensors go into and floats are computed for, and the reason, when the
            model is compiled for this machine.
    """

    name: str
    producer: str
    ir_version: int
    opsets: dict[str, int]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    weights: int
    weight_bytes: int
    operators: tuple[tuple[str, int], ...]
    unsupported: tuple[tuple[str, str], ...]
    in_floats: tuple[tuple[str, str], ...] = ()


def inspect_model(path: Path) -> ModelContents:
    """Read a model: an ONNX file, or one that converts to it. Raises UserError when it cannot be read."""
    with onnx_file(ModelSource(path)) as file:
        model = load_model(file)
        in_floats = _in_floats(file) if any("Quantize" in each.op_type for each in model.graph.node) else ()
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    opsets = {normal_domain(entry.domain): entry.version for entry in model.opset_import}
    functions = {(normal_domain(each.domain), each.name): each for each in model.functions}
    live = live_nodes(graph.node, [value.name for value in graph.output])
    missing = unsupported_nodes(live, constants, opsets, functions)
    counts = Counter(_operator(node) for node in graph.node)
    return ModelContents(
        graph.name,
        f"{model.producer_name} {model.producer_version}".strip(),
        model.ir_version,
        opsets,
        tuple(_spec(value) for value in graph.input if value.name not in constants),
        tuple(_spec(value) for value in graph.output),
        len(graph.initializer),
        sum(map(_bytes, graph.initializer)),
        tuple(counts.most_common()),
        tuple((_operator(node), node.name or next(iter(node.output), "")) for node in missing),
        in_floats,
    )


def _in_floats(file: Path) -> tuple[tuple[str, str], ...]:
    """Return what is left in floats; nothing for a model that cannot be compiled, which is told otherwise."""
    from .frontends import import_model
    from .phases import PHASES
    from .pipeline import PhaseContext, run_phases

    try:
        imported = import_model(ModelSource(file))
        context = PhaseContext(load_target("host"), origins=imported.origins)
        run_phases(imported.module, PHASES[:2], context, lambda event: None)
    except UserError:
        return ()
    return tuple(context.origins_in_floats())


def _operator(node: NodeProto) -> str:
    domain = normal_domain(node.domain)
    return f"{domain}::{node.op_type}" if domain else node.op_type


def _spec(value: ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    dims = tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in tensor.shape.dim)
    return TensorSpec(value.name, dims, _dtype(tensor.elem_type))


def _dtype(element_type: int) -> str:
    try:
        return str(tensor_dtype_to_np_dtype(element_type).name)
    except KeyError:
        return "unknown"


def _bytes(tensor: TensorProto) -> int:
    """Return the size of a tensor by its shape: its data may lie in another file."""
    count = 1
    for dim in tensor.dims:
        count *= max(dim, 0)
    bits = _BITS.get(tensor.data_type)
    return count * bits // 8 if bits else count * tensor_dtype_to_np_dtype(tensor.data_type).itemsize


#: Element types that numpy keeps in more bits than a file does.
_BITS: dict[int, int] = {onnx.TensorProto.INT4: 4, onnx.TensorProto.UINT4: 4}
