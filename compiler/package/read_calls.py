"""Read the scheduled ``main`` and the blocks it runs: all their calls in one line."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tvm_names import constant_value, dims_of, is_constant
from .calls import INPUT, RESULT, SIZE, WEIGHT, Calls, Inside, KernelCall, Value, Weight
from .lowering import itemsize
from .read_control_flow import READERS

#: The operator that makes a computed size a symbol (see passes/bind_sizes.py, which imports TVM).
BIND_SIZES = "relax.tilewright.bind_sizes"

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.relax import Binding, Call, Function


def read_calls(module: IRModule) -> Calls:
    """Return the calls of a scheduled module. Raises ValueError for what the schedule phase does not leave."""
    return Reader(module).read()


class Reader:
    """Reads blocks one into another.

    Attributes:
        module: the scheduled module.
        found: what was read so far.
        results: how many results there are so far.
    """

    def __init__(self, module: IRModule) -> None:
        self.module = module
        self.found = Calls()
        self.results = 0
        self._bound: dict[Any, Any] = {}
        self._weights: dict[str, Value] = {}

    def read(self) -> Calls:
        """Return the calls of ``main``."""
        main = self.module["main"]
        inputs = [Value(INPUT, index, bytes_of(each.ty)) for index, each in enumerate(main.params)]
        self.found.outputs = self.block(main, inputs)
        return self.found

    def block(self, function: Function, arguments: list[Value]) -> tuple[Value, ...]:
        """Append the calls of a function on these arguments; return its results."""
        self._bound.update(zip(function.params, arguments, strict=True))
        for block in function.body.blocks:
            for binding in block.bindings:
                self._bound[binding.var] = self._binding(binding)
        result = self.value(function.body.body)
        return result if isinstance(result, tuple) else (result,)

    def result(self, size: int) -> Value:
        """Return a new result."""
        self.results += 1
        return Value(RESULT, self.results - 1, size)

    def value(self, expr: Any) -> Any:
        """Return the value of an expression, several for a tuple."""
        from tvm import relax

        if is_constant(expr):
            return self._constant(expr)
        if isinstance(expr, relax.Var):
            return self._bound[expr]
        if isinstance(expr, relax.Tuple):
            return tuple(self.value(each) for each in expr.fields)
        if isinstance(expr, relax.TupleGetItem):
            return self.value(expr.tuple_value)[expr.index]
        raise ValueError(f"a scheduled module holds no such expression: {expr}")

    def _binding(self, binding: Binding) -> Any:
        from tvm import relax

        value = binding.value
        operator = str(getattr(value.op, "name", "")) if isinstance(value, relax.Call) else ""
        if operator in READERS:
            return READERS[operator](self, value)
        if operator == "relax.call_tir":
            return self._call(value)
        if operator == BIND_SIZES:
            return self._bind(value)
        if operator == "relax.reshape":
            return self.value(value.args[0])
        return self.value(value)

    def _bind(self, call: Call) -> Value:
        """Read a size from memory; the result is the beginning of the data."""
        from ...passes.bind_sizes import symbol_of

        data, count = (self.value(each) for each in call.args)
        self.found.calls.append(KernelCall(SIZE + symbol_of(call), (count,), ()))
        view = self.result(bytes_of(call.ty_args[0]))
        self.found.inside[view] = Inside(data, 0)
        return view

    def _call(self, call: Call) -> Any:
        from tvm import relax

        result = call.ty_args[0]
        types = list(result.fields) if isinstance(result, relax.TupleType) else [result]
        writes = tuple(self.result(bytes_of(each)) for each in types)
        reads = tuple(self.value(each) for each in call.args[1].fields)
        self.found.calls.append(KernelCall(call.args[0].name_hint, reads, writes))
        return writes if isinstance(result, relax.TupleType) else writes[0]

    def _constant(self, expr: Any) -> Value:
        array = np.ascontiguousarray(constant_value(expr))
        sha256 = hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()
        if sha256 not in self._weights:
            self._weights[sha256] = Value(WEIGHT, len(self.found.weights), array.nbytes)
            self.found.weights.append(Weight(array.nbytes, sha256, lambda: constant_value(expr)))
        return self._weights[sha256]


def bytes_of(kind: Any) -> int:
    """Return the bytes of a tensor of a Relax type; what only a run knows is a ``Dim``."""
    return math.prod(dims_of(kind)) * itemsize(str(kind.dtype))
