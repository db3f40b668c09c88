"""Store tensors in 16 bits: what lies between kernels, and weights; kernels compute in float32 or in 16-bit products.

    y = conv2d(x, w) -> add(b) -> relu; z = conv2d(y, v)
        -->  y = conv2d(up(x'), up(w')) -> add(b) -> relu -> down; z = conv2d(up(y), up(v'))

``down`` rounds to the low type, ``up`` is exact; both are ``astype``. Every operator keeps computing in float32: the
fuse phase lets kernels read through ``up`` and ends them with ``down``, so that a value is rounded when it leaves the
registers and at no other place. A value that one pointwise operator alone reads is not rounded: the two become one
kernel. The sums that run through a transformer, in and out of its normalizations, stay in float32. Every reader has an
``up`` of its own, since two readers of one would make it a tensor in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from ...tvm_names import constant_value, dtype_of, is_constant, shape_of, with_type
from ..expressions import POINTWISE, is_tensor, operands_of, operator_name, variables_of, with_operands
from ..fusion.anchors import READS_LOW
from ..rebuild import substitute
from ..rewrite import Pass, register_pass

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.relax import BlockBuilder, Call, Expr, Function, Var

#: Products: the operators that are fast in low precision. Their weights are stored low.
PRODUCTS = frozenset({"nn.conv2d", "nn.conv2d_transpose", "matmul"})
#: Operators that compute in float32 and read low tensors.
READERS = READS_LOW - PRODUCTS
#: What a transformer's sums go through from block to block: rounded there, errors would add up over the blocks.
NORMALIZATIONS = frozenset({"nn.layer_norm", "nn.rms_norm"})
#: Operators that move elements: from low tensors they make a low one.
MOVERS = frozenset(["reshape", "permute_dims", "concat", "strided_slice", "take", "nn.pad"])
#: A convolution of fewer input channels (the first one of a network for images) computes and stores in float32.
FEW_CHANNELS = 16
#: The largest number that float16 holds.
_LARGEST_HALF = 65504.0


@register_pass("lower-precision")
@dataclass(frozen=True)
class LowerPrecision(Pass):
    """Store float32 tensors between kernels, and the weights of products, as ``dtype``: "bfloat16" or "float16".

    The variables named in ``exempt`` are computed with float32 weights from operands as they are, unrounded where
    nothing else made them low.
    """

    dtype: str = "bfloat16"
    exempt: frozenset[str] = frozenset()

    def __call__(self, module: IRModule) -> IRModule:
        """Return the module with low tensors; parameters and results of ``main`` keep their types."""
        return _Lowering(module["main"], self.dtype, self.exempt).run()


@dataclass
class _Lowering:
    """Walks ``main``; knows of every old variable the new one, and its low copy where there is one.

    Attributes:
        wide: the new variable of an old one in its own type; missing while only the low copy exists.
        low: the copy in the low type.
        read_in_place: transposes of a low tensor in front of products, which read through both.
        normalized: results of normalizations, which pointwise operators read unrounded.
    """

    main: Function
    dtype: str
    exempt: frozenset[str]
    wide: dict[Expr, Expr] = field(default_factory=dict)
    low: dict[Expr, Expr] = field(default_factory=dict)
    readers: dict[Expr, list[str]] = field(default_factory=dict)
    read_in_place: set[Expr] = field(default_factory=set)
    normalized: set[Expr] = field(default_factory=set)

    def run(self) -> IRModule:
        self.builder: BlockBuilder = relax.BlockBuilder()
        bindings = [binding for block in self.main.body.blocks for binding in block.bindings]
        for binding in bindings:
            for var in variables_of(binding.value):
                self.readers.setdefault(var, []).append(operator_name(binding.value) or "other")
        for var in variables_of(self.main.body.body):
            self.readers.setdefault(var, []).append("result")
        self.wide = {param: param for param in self.main.params}
        with self.builder.function("main", list(self.main.params)):
            with self.builder.dataflow():
                for binding in bindings:
                    self._binding(binding.var, binding.value)
                output = self.builder.emit_output(self._plain(self.main.body.body))
            self.builder.emit_func_output(output)
        return self.builder.finalize()

    def _binding(self, var: Var, value: Expr) -> None:
        name = operator_name(value)
        if not self._float(var) or not isinstance(value, relax.Call) or str(var.name) in self.exempt:
            self.wide[var] = self.builder.emit(self._plain(value), var.name)
        elif name in MOVERS and set(self.readers.get(var, ())) != {"result"}:
            self._move(var, value)
        elif name in PRODUCTS and not _few_channels(value) or name in READERS:
            read = [self._up(each, name in PRODUCTS) for each in value.args]
            self.wide[var] = self.builder.emit(with_type(with_operands(value, read), var.ty), var.name)
            if name in NORMALIZATIONS:
                self.normalized.add(var)
        elif name in POINTWISE:
            read = [self._pointwise_operand(each) for each in value.args]
            self.wide[var] = self.builder.emit(with_type(with_operands(value, read), var.ty), var.name)
        else:
            self.wide[var] = self.builder.emit(self._plain(value), var.name)

    def _float(self, expr: Expr) -> bool:
        return is_tensor(expr) and dtype_of(expr) == "float32"

    def _plain(self, value: Expr) -> Expr:
        """Return an expression over new variables of the old types."""
        return substitute(value, {var: self._wide_of(var) for var in variables_of(value)})

    def _wide_of(self, var: Expr) -> Expr:
        return self.wide[var] if var in self.wide else self._cast(self.low[var], "float32", var)

    def _cast(self, expr: Expr, dtype: str, var: Expr) -> Expr:
        return self.builder.emit(relax.op.astype(expr, dtype), f"{getattr(var, 'name', 'weight')}_{dtype}")

    def _low_of(self, expr: Expr) -> Expr:
        """Return the low copy of a variable or constant, made at the first call."""
        if expr not in self.low:
            self.low[expr] = _rounded(expr, self.dtype) if is_constant(expr) else self._down(expr)
        return self.low[expr]

    def _representable(self, weight: Expr) -> bool:
        """Return whether a weight stays finite in the low type."""
        largest = np.abs(constant_value(weight)).max(initial=0)
        return self.dtype != "float16" or not np.isfinite(largest) or bool(largest <= _LARGEST_HALF)

    def _down(self, var: Expr) -> Expr:
        return self._cast(self.wide[var], self.dtype, var)

    def _up(self, expr: Expr, product: bool) -> Expr:
        """Return what a product or a reader reads for an operand: constants of readers stay as they are."""
        if not self._float(expr):
            return expr if is_constant(expr) else self._plain(expr)
        if is_constant(expr) and not (product and self._representable(expr)):
            return expr
        if (expr in self.read_in_place and product) or (not product and self._stays_wide(expr)):
            return self.wide[expr]
        return self._cast(self._low_of(expr), "float32", expr)

    def _pointwise_operand(self, expr: Expr) -> Expr:
        """Return the unrounded value where nobody else reads it."""
        if not isinstance(expr, relax.Var) or not self._float(expr):
            return self._plain(expr)
        alone = len(self.readers[expr]) == 1 and expr in self.wide
        is_input = expr in self.wide and self.wide[expr].same_as(expr)
        if alone or is_input or expr in self.normalized or self._stays_wide(expr):
            return self._wide_of(expr)
        return self._cast(self._low_of(expr), "float32", expr)

    def _stays_wide(self, expr: Expr) -> bool:
        """Return whether normalizations, and else pointwise operators at most, read a value: it is not rounded."""
        readers = set(self.readers.get(expr, ()))
        return expr in self.wide and bool(readers & NORMALIZATIONS) and readers <= NORMALIZATIONS | POINTWISE

    def _move(self, var: Var, value: Call) -> None:
        """Move the low copies; a transpose that products alone read stays in front of them, over an ``up``."""
        data = value.args[0]
        if operator_name(value) == "permute_dims" and set(self.readers[var]) == {"matmul"}:
            up = self._cast(self._low_of(data), "float32", data)
            self.wide[var] = self.builder.emit(with_type(with_operands(value, [up, *value.args[1:]]), var.ty), var.name)
            self.read_in_place.add(var)
            return
        lowered = {each: self._low_of(each) for each in _tensors(value) if self._float(each)}
        others = {each: self._wide_of(each) for each in variables_of(value) if each not in lowered}
        moved = with_type(_replaced(value, {**lowered, **others}), relax.TensorType(var.ty.shape, self.dtype))
        self.low[var] = self.builder.emit(moved, var.name)


def _few_channels(call: Call) -> bool:
    """Return whether a convolution, not a depthwise one, has too few input channels to gain anything."""
    if not operator_name(call).startswith("nn.conv2d"):
        return False
    return int(call.attrs.groups) == 1 and shape_of(call.args[0])[1] < FEW_CHANNELS


def _tensors(value: Expr) -> list[Expr]:
    """Return the tensors that a call reads, those of its tuples too."""
    found: list[Expr] = []
    for operand in operands_of(value):
        found += _tensors(operand) if isinstance(operand, relax.Tuple) else [operand] if is_tensor(operand) else []
    return found


def _replaced(expr: Expr, known: dict[Expr, Expr]) -> Expr:
    """Return a call with operands replaced, constants too, and its type to be inferred anew."""
    if expr in known:
        return known[expr]
    if isinstance(expr, relax.Tuple):
        return relax.Tuple([_replaced(each, known) for each in expr.fields])
    if isinstance(expr, relax.Call):
        return relax.Call(expr.op, [_replaced(each, known) for each in expr.args], expr.attrs, expr.ty_args)
    return expr


def _rounded(constant: Expr, dtype: str) -> Expr:
    import ml_dtypes

    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    return relax.const(constant_value(constant).astype(kind), dtype)
