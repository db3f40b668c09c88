"""What numpy computes for a Relax operator: the table behind constant folding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...registry import Registry
from ...tvm_names import dtype_of, shape_of
from ..expressions import axes_of, ints, permutation_of

if TYPE_CHECKING:
    from tvm.relax import Call

Array = NDArray[Any]
Evaluate = Callable[["Call", Sequence[Array]], Array]

#: Operators by name: (call, arrays of its tensor operands) -> array. The caller casts to the call's element type.
NUMPY_OPERATORS: Registry[Evaluate] = Registry("numpy operator")


def _pointwise(function: Callable[..., Any]) -> Evaluate:
    return lambda _, arrays: np.asarray(function(*arrays))


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    # Integers round towards zero, where numpy's floor division rounds down.
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))


_POINTWISE: dict[str, Callable[..., Any]] = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": _divide, "power": np.power,
    "floor_divide": np.floor_divide, "floor_mod": np.mod, "mod": np.fmod,
    "maximum": np.maximum, "minimum": np.minimum,
    "equal": np.equal, "not_equal": np.not_equal, "less": np.less, "less_equal": np.less_equal,
    "greater": np.greater, "greater_equal": np.greater_equal,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor,
    "logical_not": np.logical_not, "negative": np.negative, "abs": np.abs, "sign": np.sign,
    "ceil": np.ceil, "floor": np.floor, "round": np.round, "trunc": np.trunc,
    "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "square": np.square, "exp": np.exp, "log": np.log,
    "sin": np.sin, "cos": np.cos, "tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "nn.relu": lambda x: np.maximum(x, 0), "where": np.where, "astype": lambda x: x,
}  # fmt: skip
for _name, _function in _POINTWISE.items():
    NUMPY_OPERATORS.add(_name, _pointwise(_function))


@NUMPY_OPERATORS.register("reshape", "squeeze", "expand_dims", "flatten", "nn.batch_flatten")
def _reshape(call: Call, arrays: Sequence[Array]) -> Array:
    return arrays[0].reshape(shape_of(call))


@NUMPY_OPERATORS.register("permute_dims")
def _permute_dims(call: Call, arrays: Sequence[Array]) -> Array:
    return arrays[0].transpose(permutation_of(call))


@NUMPY_OPERATORS.register("broadcast_to")
def _broadcast_to(call: Call, arrays: Sequence[Array]) -> Array:
    return np.broadcast_to(arrays[0], shape_of(call))


@NUMPY_OPERATORS.register("concat")
def _concat(call: Call, arrays: Sequence[Array]) -> Array:
    return np.concatenate(arrays, axis=int(call.attrs.axis))


@NUMPY_OPERATORS.register("strided_slice")
def _strided_slice(call: Call, arrays: Sequence[Array]) -> Array:
    axes, begin, end = (ints(field.fields) for field in call.args[1:4])
    strides = ints(call.args[4].fields) if len(call.args) > 4 else (1,) * len(axes)
    index = [slice(None)] * arrays[0].ndim
    for axis, first, last, stride in zip(axes, begin, end, strides, strict=True):
        if stride < 0:
            # What a negative bound means differs between numpy and Relax when walking backwards.
            raise NotImplementedError("slices that walk backwards")
        index[axis] = slice(first, last, stride)
    return arrays[0][tuple(index)]


@NUMPY_OPERATORS.register("take")
def _take(call: Call, arrays: Sequence[Array]) -> Array:
    data, indices = arrays
    axis = None if call.attrs.axis is None else int(call.attrs.axis)
    size = data.size if axis is None else data.shape[axis]
    if np.any(indices < 0) or np.any(indices >= size):
        raise NotImplementedError("indices out of bounds")
    return np.take(data, indices, axis=axis)


@NUMPY_OPERATORS.register("zeros", "ones", "full")
def _filled(call: Call, arrays: Sequence[Array]) -> Array:
    value: Any = {"relax.zeros": 0, "relax.ones": 1}.get(str(call.op.name))
    return np.full(shape_of(call), arrays[0] if value is None else value, dtype_of(call))


def _reduction(function: Callable[..., Any]) -> Evaluate:
    def evaluate(call: Call, arrays: Sequence[Array]) -> Array:
        return np.asarray(function(arrays[0], axis=axes_of(call), keepdims=bool(call.attrs.keepdims)))

    return evaluate


for _name in ("sum", "mean", "max", "min", "prod"):
    NUMPY_OPERATORS.add(_name, _reduction(getattr(np, _name)))
