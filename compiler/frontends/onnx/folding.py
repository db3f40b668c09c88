"""Nodes whose operands are constant, computed at import by onnx's own reference evaluator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TypeProto
from onnx.helper import make_function, make_opsetid, tensor_dtype_to_np_dtype
from onnx.reference import ReferenceEvaluator

Array = NDArray[Any]

#: A folded result may hold this many bytes, or as many as its operands if they hold more: a few integers in an
#: untrusted file must not become gigabytes.
FOLDING_LIMIT = 16 * 2**20

#: Operators whose results differ from run to run.
_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)

#: Operators whose result's size depends on the operands' values but never exceeds a small multiple of their size.
_BOUNDED = frozenset({"NonZero", "Unique", "Compress", "NonMaxSuppression", "StringSplit", "Split"})


#: Operators that say on which grid numbers lie: kernels compute on the integers of constants, too.
_GRIDS = frozenset({"QuantizeLinear", "DequantizeLinear"})

#: Domains whose operators onnx evaluates.
_EVALUATED_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview.training"})


def can_fold(node: NodeProto) -> bool:
    """Return whether a node gives the same results each time it is evaluated and holds no graph of its own.

    What quantizes or dequantizes stays in the module for the precision phase; of other domains onnx knows nothing.
    """
    if node.domain not in _EVALUATED_DOMAINS:
        return False
    return node.op_type not in _RANDOM | _GRIDS and not any(a.HasField("g") or a.graphs for a in node.attribute)


#: The first version that onnx evaluates of operators that mean the same before it.
_OLDEST_EVALUATED = {"QuantizeLinear": 19, "DequantizeLinear": 19}


def fold(
    node: NodeProto, operands: Mapping[str, Array], opsets: Mapping[str, int], types: Mapping[str, TypeProto]
) -> list[Array] | None:
    """Return a node's results, or None when they are too large to hold or are not tensors.

    Args:
        node: a node that ``can_fold``.
        operands: the value of each operand.
        opsets: the version of each domain.
        types: what onnx infers of the results.
    """
    if node.op_type == "Identity":
        return [operands[node.input[0]]]
    if node.op_type != "Constant" and not _is_small(node, operands, types):
        return None
    if node.op_type == "GatherElements":
        return [_gather_elements(node, *(operands[name] for name in node.input))]
    if node.op_type == "Range":
        return [_range(*(operands[name] for name in node.input))]
    inputs = list(dict.fromkeys(name for name in node.input if name))
    outputs = [name for name in node.output if name]
    oldest = _OLDEST_EVALUATED.get(node.op_type, 1) if not node.domain else 1
    versions = [make_opsetid(d, v if d else max(v, oldest)) for d, v in opsets.items()]
    function = make_function("tilewright", "Folded", inputs, outputs, [node], versions)
    with np.errstate(all="ignore"):
        results = ReferenceEvaluator(function).run(None, {name: operands[name] for name in inputs}, {})
    if any(not isinstance(each, np.ndarray | np.generic) for each in results):
        return None
    return [np.asarray(each) for each in results]


def fold_shape(node: NodeProto, shape: Sequence[int]) -> Array | None:
    """Return the result of a Shape or Size node from its operand's static shape; None for any other node."""
    if node.op_type == "Size":
        return np.asarray(math.prod(shape), np.int64)
    if node.op_type != "Shape":
        return None
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    return np.asarray(shape[bounds.get("start", 0) : bounds.get("end")], np.int64).reshape(-1)


def inferred_types(
    node: NodeProto,
    types: Mapping[str, TypeProto],
    values: Mapping[str, Array],
    opsets: Mapping[str, int],
) -> dict[str, TypeProto]:
    """Return what onnx infers of a node's results, nothing for operators that it does not know.

    Raises onnx.shape_inference.InferenceError for operands that the operator does not take.
    """
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets.get(node.domain, 1), node.domain)
    except onnx.defs.SchemaError:
        return {}
    known = {name: onnx.numpy_helper.from_array(values[name], name) for name in node.input if name in values}
    try:
        return onnx.shape_inference.infer_node_outputs(
            schema,
            node,
            dict(types),
            known,
            opset_imports=[make_opsetid(domain, version) for domain, version in opsets.items()],
        )
    except onnx.checker.ValidationError as error:
        raise onnx.shape_inference.InferenceError(str(error)) from error


def static_dims(inferred: TypeProto) -> tuple[int | None, ...] | None:
    """Return the dimensions of an inferred type, None for each that is not known; None when the rank is not known."""
    if not inferred.HasField("tensor_type") or not inferred.tensor_type.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in inferred.tensor_type.shape.dim)


def _gather_elements(node: NodeProto, data: Array, indices: Array) -> Array:
    """Onnx's evaluator fails where the indices are fewer than the data along another axis."""
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    places: list[Array] = list(np.indices(indices.shape, sparse=True))
    places[axis] = indices
    result: Array = data[tuple(places)]
    return result


def _range(start: Array, limit: Array, step: Array) -> Array:
    """Onnx's evaluator takes scalars only, its own function bodies give tensors of one element."""
    first, last, each = (value.item() for value in (start, limit, step))
    result: Array = np.arange(first, last, each).astype(start.dtype)
    return result


def _is_small(node: NodeProto, operands: Mapping[str, Array], types: Mapping[str, TypeProto]) -> bool:
    limit = max(FOLDING_LIMIT, sum(operands[name].nbytes for name in node.input if name))
    total = 0
    for name in node.output:
        if not name:
            continue
        size = _bytes_of(types.get(name))
        if size is None and node.op_type not in _BOUNDED:
            size = _range_bytes(node, operands)
        total += size or 0
        if (size is None and node.op_type not in _BOUNDED) or total > limit:
            return False
    return True


def _bytes_of(inferred: TypeProto | None) -> int | None:
    dims = None if inferred is None else static_dims(inferred)
    if inferred is None or dims is None:
        return None
    sizes = [dim for dim in dims if dim is not None]
    if len(sizes) != len(dims):
        return None
    return math.prod(sizes) * int(np.dtype(tensor_dtype_to_np_dtype(inferred.tensor_type.elem_type)).itemsize)


def _range_bytes(node: NodeProto, operands: Mapping[str, Array]) -> int | None:
    if node.op_type != "Range":
        return None
    start, limit, step = (operands[name] for name in node.input)
    steps: float = (limit.item() - start.item()) / step.item()
    return max(math.ceil(steps), 0) * int(start.itemsize)
