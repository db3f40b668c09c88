"""Values computed from shapes: small integer arrays whose elements may be symbolic dimensions.

    Shape(x) [batch, 3, 224, 224] --Gather 0--> batch --Mul 4--> 4*batch --Concat--> [4*batch, -1]

Such a chain is followed at import and no kernel computes it. An operator that no row here follows, or whose result the
bounds do not decide, makes an ordinary tensor of the value.
"""

from __future__ import annotations

import operator as python
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto
from onnx.helper import get_attribute_value
from tvm import relax

from ....atoms import Undecided
from ....dims import Dim, bounds, dim_expression, operation
from ....registry import Registry

if TYPE_CHECKING:
    from tvm.relax import Expr, Var

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class ShapeValue:
    """An integer array some of whose elements are known only at run time.

    Attributes:
        dims: an object array of integers and dimensions.
        dtype: "int32" or "int64".
    """

    dims: Array
    dtype: str = "int64"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array, which is always known."""
        return self.dims.shape


#: Rows take the node's attributes and the operands as object arrays; they return an object array.
_Row = Callable[..., Any]
_ROWS: Registry[_Row] = Registry("operator on shapes")


def shape_value(dims: Sequence[int] | Array, dtype: str = "int64") -> ShapeValue | Array:
    """Return a value of these elements: an ordinary array where all of them are known."""
    array = np.empty(np.shape(dims), object)
    array[...] = dims
    if any(isinstance(each, Dim) for each in array.flat):
        return ShapeValue(array, dtype)
    return array.astype(dtype if all(type(each) is not bool for each in array.flat) or not array.size else "bool")


def fold_shape_values(node: NodeProto, operands: Mapping[str, Any]) -> ShapeValue | Array | None:
    """Return the result of a node over arrays and at least one ShapeValue, None where it must be computed at run time.

    Raises Undecided where the result depends on a symbol in another way than a polynomial.
    """
    row = _ROWS.get(node.op_type)
    values = [operands[name] if name else None for name in node.input]
    if row is None or not all(isinstance(each, np.ndarray | ShapeValue) or each is None for each in values):
        return None
    attributes = {each.name: get_attribute_value(each) for each in node.attribute}
    dtype = next((each.dtype for each in values if isinstance(each, ShapeValue)), "int64")
    if node.op_type == "Cast":
        dtype = {TensorProto.INT32: "int32", TensorProto.INT64: "int64"}.get(attributes["to"], "")
        if not dtype:
            return None
    arrays = [_objects(each) for each in values]
    if any(
        each is not None and each.dtype == object and any(isinstance(e, float) for e in each.flat) for each in arrays
    ):
        return None
    return shape_value(row(attributes, *arrays), dtype)


def shape_tensor(value: ShapeValue, emit: Callable[[Expr], Var]) -> Var:
    """Emit the elements of a value as a tensor."""

    def part(dim: int) -> Expr:
        if not isinstance(dim, Dim):
            return relax.const(np.array([dim]), dtype=value.dtype)
        return emit(relax.op.arange(dim_expression(dim), dim_expression(dim + 1), 1, value.dtype))

    parts = [part(dim) for dim in value.dims.flat]
    joined = parts[0] if len(parts) == 1 else emit(relax.op.concat(parts, 0))
    return emit(relax.op.reshape(joined, value.shape))


def _objects(value: Any) -> Array | None:
    if value is None:
        return None
    if isinstance(value, ShapeValue):
        return value.dims
    array = np.empty(value.shape, object)
    array[...] = value.tolist()
    return array


def _elementwise(function: Callable[..., Any]) -> _Row:
    def row(_: Mapping[str, Any], *operands: Array) -> Array:
        return np.asarray(np.frompyfunc(function, len(operands), 1)(*operands), object)

    return row


def _equal(left: int, right: int) -> bool:
    if left == right:
        return True
    difference = left - right
    low, high = bounds(difference)
    if low <= 0 <= high:
        raise Undecided(difference)
    return False


def _quotient(left: int, right: int) -> int:
    if bounds(left)[0] < 0 or bounds(right)[0] < 1:
        raise Undecided(left)  # ONNX rounds towards zero
    return left // right


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Add": python.add,
    "Sub": python.sub,
    "Mul": python.mul,
    "Div": _quotient,
    "Mod": python.mod,
    "Neg": python.neg,
    "Equal": _equal,
    "Less": python.lt,
    "LessOrEqual": python.le,
    "Greater": python.gt,
    "GreaterOrEqual": python.ge,
    "Not": python.not_,
    "And": lambda a, b: a and b,
    "Or": lambda a, b: a or b,
    "Where": lambda condition, then, otherwise: then if condition else otherwise,
}
for _name, _function in _ELEMENTWISE.items():
    _ROWS.add(_name, _elementwise(_function))


def _of_kind(kind: str) -> _Row:
    pair = np.frompyfunc(lambda a, b: operation(kind, a, b), 2, 1)

    def row(_: Mapping[str, Any], first: Array, *others: Array) -> Any:
        for each in others:
            first = pair(first, each)
        return first

    return row


_ROWS.add("Min", _of_kind("min"))
_ROWS.add("Max", _of_kind("max"))


@_ROWS.register("Identity", "Cast")
def _same(_: Mapping[str, Any], data: Array) -> Array:
    return data


@_ROWS.register("Gather")
def _gather(attributes: Mapping[str, Any], data: Array, indices: Array) -> Any:
    return np.take(data, indices.astype(np.int64), int(attributes.get("axis", 0)))


@_ROWS.register("Concat")
def _concat(attributes: Mapping[str, Any], *operands: Array) -> Array:
    return np.concatenate(operands, int(attributes["axis"]))


@_ROWS.register("Unsqueeze")
def _unsqueeze(attributes: Mapping[str, Any], data: Array, axes: Array | None = None) -> Array:
    along = attributes["axes"] if axes is None else axes.astype(np.int64).reshape(-1).tolist()
    return np.expand_dims(data, tuple(along))


@_ROWS.register("Squeeze")
def _squeeze(attributes: Mapping[str, Any], data: Array, axes: Array | None = None) -> Array:
    along = attributes.get("axes") if axes is None else axes.astype(np.int64).reshape(-1).tolist()
    return np.squeeze(data, None if along is None else tuple(along))


@_ROWS.register("Reshape")
def _reshape(_: Mapping[str, Any], data: Array, shape: Array) -> Array:
    return data.reshape(shape.astype(np.int64).tolist())


@_ROWS.register("Slice")
def _slice(
    attributes: Mapping[str, Any],
    data: Array,
    starts: Array | None = None,
    ends: Array | None = None,
    axes: Array | None = None,
    steps: Array | None = None,
) -> Array:
    if starts is None or ends is None:
        first, last, along = attributes["starts"], attributes["ends"], attributes.get("axes")
    else:
        first, last = starts.astype(np.int64).tolist(), ends.astype(np.int64).tolist()
        along = None if axes is None else axes.astype(np.int64).tolist()
    strides = [1] * len(first) if steps is None else steps.astype(np.int64).tolist()
    cuts = [slice(None)] * data.ndim
    for axis, start, end, step in zip(along or range(len(first)), first, last, strides, strict=True):
        if step < 1:
            raise Undecided("a slice that runs backwards")
        cuts[axis] = slice(start, end, step)
    return data[tuple(cuts)]


@_ROWS.register("ReduceProd")
def _product(attributes: Mapping[str, Any], data: Array, axes: Array | None = None) -> Any:
    return np.prod(data, keepdims=bool(attributes.get("keepdims", 1)))
