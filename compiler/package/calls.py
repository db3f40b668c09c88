"""Read the scheduled ``main``: which kernels run in what order on which values."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...tvm_names import constant_value, is_constant
from .lowering import itemsize

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.relax import Binding, Call

INPUT, WEIGHT, RESULT = "input", "weight", "result"


@dataclass(frozen=True)
class Value:
    """A buffer.

    Attributes:
        kind: INPUT, WEIGHT or RESULT (of a kernel).
        index: which input, weight or result.
        size: its bytes.
    """

    kind: str
    index: int
    size: int


@dataclass(frozen=True)
class Weight:
    """A constant: its bytes, their SHA-256, and how to get the array when it is written."""

    size: int
    sha256: str
    load: Callable[[], NDArray[np.generic]]


@dataclass(frozen=True)
class KernelCall:
    """A call of the kernel of this name."""

    function: str
    reads: tuple[Value, ...]
    writes: tuple[Value, ...]


@dataclass
class Calls:
    """All of ``main``.

    Attributes:
        calls: kernel calls in order.
        weights: constants without duplicates.
        outputs: the values that are the outputs.
        inside: values that live inside another one, from a byte of it on.
    """

    calls: list[KernelCall] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    outputs: tuple[Value, ...] = ()
    inside: dict[Value, tuple[Value, int]] = field(default_factory=dict)


def read_calls(module: IRModule) -> Calls:
    """Return the calls of a scheduled module. Raises ValueError for what the schedule phase does not leave."""
    return _Reader().read(module["main"])


class _Reader:
    def __init__(self) -> None:
        self._found = Calls()
        self._bound: dict[Any, Any] = {}
        self._weights: dict[str, Value] = {}
        self._results = 0

    def read(self, main: Any) -> Calls:
        for index, parameter in enumerate(main.params):
            self._bound[parameter] = Value(INPUT, index, _bytes(parameter.ty))
        for block in main.body.blocks:
            for binding in block.bindings:
                self._bound[binding.var] = self._binding(binding)
        result = self._value(main.body.body)
        self._found.outputs = result if isinstance(result, tuple) else (result,)
        return self._found

    def _binding(self, binding: Binding) -> Any:
        from tvm import ir, relax

        value = binding.value
        if isinstance(value, relax.Call) and value.op == ir.Op.get("relax.call_tir"):
            return self._call(value)
        if isinstance(value, relax.Call) and value.op == ir.Op.get("relax.reshape"):
            return self._value(value.args[0])
        return self._value(value)

    def _call(self, call: Call) -> Any:
        from tvm import relax

        result = call.ty_args[0]
        types = list(result.fields) if isinstance(result, relax.TupleType) else [result]
        writes = tuple(self._result(each) for each in types)
        reads = tuple(self._value(each) for each in call.args[1].fields)
        self._found.calls.append(KernelCall(call.args[0].name_hint, reads, writes))
        return writes if isinstance(result, relax.TupleType) else writes[0]

    def _result(self, kind: Any) -> Value:
        self._results += 1
        return Value(RESULT, self._results - 1, _bytes(kind))

    def _value(self, expr: Any) -> Any:
        from tvm import relax

        if is_constant(expr):
            return self._constant(expr)
        if isinstance(expr, relax.Var):
            return self._bound[expr]
        if isinstance(expr, relax.Tuple):
            return tuple(self._value(each) for each in expr.fields)
        if isinstance(expr, relax.TupleGetItem):
            return self._value(expr.tuple_value)[expr.index]
        raise ValueError(f"a scheduled module holds no such expression: {expr}")

    def _constant(self, expr: Any) -> Value:
        array = np.ascontiguousarray(constant_value(expr))
        sha256 = hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()
        if sha256 not in self._weights:
            self._weights[sha256] = Value(WEIGHT, len(self._found.weights), array.nbytes)
            self._found.weights.append(Weight(array.nbytes, sha256, lambda: constant_value(expr)))
        return self._weights[sha256]


def _bytes(kind: Any) -> int:
    return math.prod(int(dim) for dim in kind.shape.values) * itemsize(str(kind.dtype))
