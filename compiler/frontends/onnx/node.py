"""One ONNX node as a row function sees it: its attributes, its operands' types, and where to emit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper
from onnx.helper import get_attribute_value
from tvm import relax

from ....dims import Dim, symbol
from ....element_types import CONTAINED, small_float
from ....errors import UserError
from ....passes.bind_sizes import bind_sizes
from ....passes.conversion import convert
from ....tvm_names import constant_value, dtype_of, expressions, is_constant, shape_of
from .shape_values import ShapeValue, shape_tensor, shape_value

if TYPE_CHECKING:
    from tvm.relax import Expr, Var


class Node:
    """A node being imported.

    Args:
        proto: the node.
        opset: the version of the node's domain.
        label: what errors call the node ("Conv 'layer1.0.conv1'").
        emit: binds an expression to a new Relax variable of the node.
        shape_values: the elements of operands that follow from the inputs' shapes.
        unique: makes a name that nothing else has.
        definition: from a variable to the expression that it is bound to, None for parameters.
        sizes: the symbols of sizes that nodes before have read from tensors; more are added.
        labels: of expressions that number strings, the strings; more are added.
    """

    def __init__(
        self,
        proto: NodeProto,
        opset: int,
        label: str,
        emit: Callable[[Expr], Var],
        shape_values: Mapping[Expr, ShapeValue] | None = None,
        unique: Callable[[str], str] = str,
        definition: Callable[[Expr], Expr | None] = lambda _: None,
        sizes: MutableMapping[Any, int] | None = None,
        labels: MutableMapping[Any, tuple[str, ...]] | None = None,
    ) -> None:
        self.proto = proto
        self.opset = opset
        self.label = label
        self.emit = emit
        self._unique = unique
        self.definition = definition
        self.sizes: MutableMapping[Any, int] = {} if sizes is None else sizes
        self._labels: MutableMapping[Any, tuple[str, ...]] = {} if labels is None else labels
        self._shape_values = {} if shape_values is None else shape_values
        self._attributes = {attribute.name: attribute for attribute in proto.attribute}

    @property
    def op_type(self) -> str:
        """The operator's name."""
        return self.proto.op_type

    def has(self, name: str) -> bool:
        """Return whether the node states an attribute."""
        return name in self._attributes

    def get_int(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        return int(self._value(name, default))

    def get_float(self, name: str, default: float) -> float:
        """Return a float attribute: single precision, as the file has it."""
        return float(self._value(name, default))

    def get_ints(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        """Return an attribute of integers."""
        return tuple(int(value) for value in self._value(name, default))

    def get_floats(self, name: str, default: Sequence[float]) -> tuple[float, ...]:
        """Return an attribute of floats."""
        return tuple(float(value) for value in self._value(name, default))

    def get_string(self, name: str, default: str) -> str:
        """Return a string attribute."""
        value = self._value(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def get_strings(self, name: str) -> tuple[str, ...]:
        """Return an attribute of strings, none where the node does not state it."""
        return tuple(each.decode() for each in self._value(name, ()))

    def get_tensor(self, name: str) -> TensorProto | None:
        """Return a tensor attribute, or None."""
        value = self._value(name, None)
        return value if isinstance(value, TensorProto) else None

    def name_elements(self, numbers: Expr, strings: Sequence[str]) -> Expr:
        """Return numbers int64, remembered as those of strings."""
        self._labels[numbers] = tuple(strings)
        return numbers

    def names_of(self, numbers: Expr) -> tuple[str, ...]:
        """Return the strings that an operand's elements number; none where they are numbers."""
        return self._labels.get(numbers, ())

    def wants(self, output: int) -> bool:
        """Return whether the graph uses an optional output of the node."""
        return output < len(self.proto.output) and self.proto.output[output] != ""

    def array(self, operand: Expr, what: str) -> NDArray[Any]:
        """Return the value of an operand that must be constant. Raises UserError when it is not."""
        if not is_constant(operand):
            raise UserError(
                f"{what} must be constant; here it is computed from the model's inputs: make it an initializer of the "
                "model"
            )
        return constant_value(operand)

    def int_list(self, operand: Expr, what: str) -> tuple[int, ...]:
        """Return the integers of an operand that must follow from constants and shapes, a scalar as one."""
        known = self._shape_values.get(operand)
        if known is not None:
            return tuple(known.dims.flat)
        return tuple(int(value) for value in np.atleast_1d(self.array(operand, what)))

    def follows_from_shapes(self, operand: Expr) -> bool:
        """Return whether an operand's elements are known from the inputs' shapes."""
        return operand in self._shape_values

    def is_known(self, operand: Expr) -> bool:
        """Return whether an operand's elements follow from constants and the inputs' shapes."""
        return is_constant(operand) or self.follows_from_shapes(operand)

    def new_size(self, most: int, least: int = 0) -> int:
        """Return a symbol for a size within bounds that the node's result will have."""
        return symbol(self._unique(f"{next(filter(None, self.proto.output))}_size"), least, most)

    def bind_size(self, data: Expr, count: Expr, size: int, shape: Sequence[int]) -> Expr:
        """Return data as a tensor of this shape, whose symbol a count (int64 [1]) tells from here on."""
        return self.emit(bind_sizes(data, count, size, tuple(shape)))

    def const(self, value: Any, like: Expr | str) -> Expr:
        """Return a constant in the element type given, or that of another expression.

        Dimensions that only a run knows make a tensor that is no constant.
        """
        dtype = like if isinstance(like, str) else dtype_of(like)
        known = shape_value(value) if _holds_dims(value) else value
        if isinstance(known, ShapeValue):
            return self.cast(shape_tensor(known, self.emit), dtype)
        return constant(np.asarray(value).astype(np.dtype(dtype)))

    def reshape(self, data: Expr, shape: Sequence[int]) -> Expr:
        """Return data in another shape; constants at once, and nothing is emitted where the shape is the same."""
        target = tuple(dim if isinstance(dim, Dim) else int(dim) for dim in shape)
        if is_constant(data):
            return constant(constant_value(data).reshape(target))
        if shape_of(data) == target:
            return data
        return self.emit(relax.op.reshape(data, relax.ShapeExpr(expressions(target))))

    def transpose(self, data: Expr, axes: Sequence[int]) -> Expr:
        """Return data with its axes permuted; constants at once, and nothing is emitted for the identity."""
        order = list(axes)
        if is_constant(data):
            return constant(np.ascontiguousarray(constant_value(data).transpose(order)))
        return data if order == sorted(order) else self.emit(relax.op.permute_dims(data, order))

    def cast(self, data: Expr, dtype: str) -> Expr:
        """Return data in another element type; nothing is emitted where it is the same."""
        return data if dtype_of(data) == dtype else self.emit(cast(data, dtype))

    def _value(self, name: str, default: Any) -> Any:
        found = self._attributes.get(name)
        return default if found is None else get_attribute_value(found)


def _holds_dims(value: Any) -> bool:
    return isinstance(value, Dim) or (isinstance(value, np.ndarray) and value.dtype == object)


def cast(data: Expr, dtype: str, saturate: bool = True, round_mode: str = "up") -> Expr:
    """Return data in another element type by the rules of ONNX's Cast; constants at once."""
    if is_constant(data):
        return constant(_cast_array(constant_value(data), dtype, saturate, round_mode))
    if CONTAINED.keys() & {dtype, dtype_of(data)}:
        return convert(data, dtype, saturate, round_mode)
    return relax.op.astype(data, dtype)


def _cast_array(array: NDArray[Any], dtype: str, saturate: bool, round_mode: str) -> NDArray[Any]:
    small = small_float(dtype)
    if dtype == "float8_e8m0fnu":
        return numpy_helper.to_float8e8m0(array, saturate, round_mode).astype(dtype)
    with np.errstate(all="ignore"):
        if saturate and small is not None and small.bits == 8:
            return numpy_helper.saturate_cast(array, np.dtype(dtype))
        return array.astype(np.dtype(dtype))


def constant(array: NDArray[Any]) -> Expr:
    """Return a Relax constant that holds a copy of an array, its element type kept.

    Integers narrower than a byte have no constants: they are a conversion of one, to be bound before it is read.
    """
    described = CONTAINED.get(array.dtype.name)
    if described is not None and small_float(array.dtype.name) is None:
        return convert(constant(array.astype(np.int8)), array.dtype.name)
    return relax.const(np.ascontiguousarray(array).reshape(array.shape), dtype=array.dtype.name)


def positive_axis(axis: int, rank: int) -> int:
    """Return an axis counted from the front. Raises UserError when the tensor has no such axis."""
    if not -rank <= axis < max(rank, 1):
        raise UserError(f"axis {axis} does not exist in a tensor of {rank} dimensions")
    return axis + rank if axis < 0 else axis


def rank_of(expr: Expr) -> int:
    """Return how many dimensions a Relax expression has."""
    return len(shape_of(expr))
