"""Tensors of element types that no machine computes, as tensors of types that every machine does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tvm
from tvm import relax

from ...element_types import CONTAINED, container_of
from ...tvm_names import constant_value, dtype_of, is_constant
from ..bind_sizes import NAME as BIND_SIZES
from ..control_flow import BRANCH, LOOP
from ..conversion import CONVERT
from ..expressions import POINTWISE, constant, is_tensor, operands_of, operator_name, with_operands
from ..rewrite import Pass, register_pass
from .converting import converted

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.relax import BlockBuilder, Call, Expr, Var

#: Operators that move elements and look at none: they move containers as well.
_MOVES = frozenset(
    (
        "reshape", "permute_dims", "concat", "split", "strided_slice", "take", "gather_elements", "gather_nd",
        "scatter_elements", "scatter_nd", "broadcast_to", "expand_dims", "squeeze", "tile", "flip", "repeat", "flatten",
        "where", "tuple", "tuple_get_item", "nn.batch_flatten", "reverse_sequence", "slice_scatter", "meshgrid",
    )
)  # fmt: skip
#: Operators whose kernels compute half precision as they should, by widening.
_KNOW_HALF = POINTWISE | _MOVES | frozenset(("tilewright.recurrent", "full", "zeros", "ones"))


@register_pass("narrow-storage")
@dataclass(frozen=True)
class NarrowStorage(Pass):
    """Store small floats and narrow integers in containers, and compute floats of at most 16 bits in single precision.

    convert(x)                      -->  encode(decode(x)), and the like for integers
    reshape(x: float8)              -->  reshape(bits of x: uint8)
    add(x: bfloat16, y: bfloat16)   -->  encode(add(decode(x), decode(y)))
    matmul(x: float16, y: float16)  -->  astype(matmul(astype(x), astype(y)))

    Every operator rounds its result once, as ONNX's definitions do. Weights are widened now.
    """

    def __call__(self, module: IRModule) -> IRModule:
        """Return the module of machine types; parameters and results are containers too."""
        main = module["main"]
        walk = _Walk()
        params = [walk.parameter(param) for param in main.params]
        with walk.builder.function("main", params):
            with walk.builder.dataflow():
                for binding in (binding for block in main.body.blocks for binding in block.bindings):
                    walk.bind(binding.var, binding.value)
                output = walk.builder.emit_output(walk.renamed(main.body.body))
            walk.builder.emit_func_output(output)
        function = walk.builder.get()["main"]
        for name, value in (main.attrs or {}).items():
            function = function.with_attr(name, value)
        others = {variable: each for variable, each in module.functions.items() if variable.name_hint != "main"}
        made = tvm.IRModule({**others, tvm.ir.GlobalVar("main"): function})
        return relax.transform.Normalize()(made.with_attrs(module.attrs) if module.attrs else made)


def has_narrow(module: IRModule) -> bool:
    """Return whether ``main`` holds anything for this pass to do."""
    main = module["main"]
    values = [binding.value for block in main.body.blocks for binding in block.bindings]
    return any(
        dtype in CONTAINED or dtype == "float16" for each in (*main.params, *values) for dtype in _types_below(each)
    ) or any(operator_name(each) == CONVERT for each in values)


class _Walk:
    def __init__(self) -> None:
        self.builder: BlockBuilder = relax.BlockBuilder()
        self.known: dict[Any, Expr] = {}
        self.widened: dict[Any, Expr] = {}

    def parameter(self, param: Var) -> Var:
        """Return a parameter of the container's type."""
        if not is_tensor(param) or dtype_of(param) not in CONTAINED:
            self.known[param] = param
        else:
            self.known[param] = relax.Var(param.name, relax.TensorType(param.ty.shape, container_of(dtype_of(param))))
        return self.known[param]

    def bind(self, var: Var, value: Expr) -> None:
        """Emit the new value of a binding under its name."""
        self.known[var] = self.builder.emit(self._value(value, str(var.name)), str(var.name))

    def renamed(self, expr: Expr) -> Expr:
        """Return an expression of new variables and containers."""
        if is_constant(expr):
            return _contained(expr)
        operands = operands_of(expr)
        return (
            with_operands(expr, [self.renamed(each) for each in operands]) if operands else self.known.get(expr, expr)
        )

    def _value(self, value: Expr, name: str) -> Expr:
        operator = operator_name(value)
        types = _types_below(value)
        if operator == CONVERT or (operator == "astype" and types & CONTAINED.keys()):
            return self._conversion(value)
        if operator in ("full", "zeros", "ones") and types & CONTAINED.keys():
            return self._filled(value)
        if operator in (BRANCH, LOOP, BIND_SIZES):
            return self._with_types(value)
        if operator in _MOVES or not isinstance(value, relax.Call):
            return self.renamed(value)
        half = "float16" in types and operator not in _KNOW_HALF
        if not half and not types & CONTAINED.keys():
            return self.renamed(value)
        return self._widely(value, half, name)

    def _conversion(self, call: Call) -> Expr:
        attrs = dict(call.attrs.items()) if operator_name(call) == CONVERT else {}
        emit = self.builder.emit
        saturate, mode = bool(attrs.get("saturate", True)), str(attrs.get("round_mode", "up"))
        data, source = call.args[0], dtype_of(call.args[0])
        if is_constant(data) and source in CONTAINED:
            data, source = constant(constant_value(data).astype(np.float32)), "float32"
        return converted(self.renamed(data), source, dtype_of(call), saturate, mode, emit)

    def _with_types(self, call: Call) -> Call:
        """Return a call that names its results' types; blocks that it runs are visited too, and take containers."""
        operands = [self.renamed(each) for each in call.args]
        return relax.Call(call.op, operands, call.attrs, [_container_type(each) for each in call.ty_args])

    def _filled(self, call: Call) -> Expr:
        dtype = dtype_of(call)
        if operator_name(call) == "full":
            fill = constant_value(call.args[1]) if is_constant(call.args[1]) else None
            if fill is None:
                return relax.op.broadcast_to(self.renamed(call.args[1]), call.ty.shape)
        else:
            fill = np.asarray(operator_name(call) == "ones").astype(np.dtype(dtype))
        return relax.op.full(call.ty.shape, _contained(constant(fill)), container_of(dtype))

    def _widely(self, call: Call, half: bool, name: str) -> Expr:
        """Return an operator computed in single precision, each of its results narrowed again."""
        operands = [self._wide(each, half) for each in call.args]
        result = self.builder.emit(_in_single(call, operands))
        if not isinstance(call.ty, relax.TupleType):
            return self._narrow(result, dtype_of(call))
        fields = [self.builder.emit(relax.TupleGetItem(result, index)) for index in range(len(call.ty.fields))]
        types = [str(field.dtype) for field in call.ty.fields]
        narrowed = (self._narrow(field, dtype) for field, dtype in zip(fields, types, strict=True))
        return relax.Tuple([self.builder.emit(each) if isinstance(each, relax.Call) else each for each in narrowed])

    def _wide(self, operand: Expr, half: bool) -> Expr:
        if isinstance(operand, relax.Tuple):
            return relax.Tuple([self._wide(each, half) for each in operand.fields])
        if isinstance(getattr(operand, "ty", None), relax.TupleType):
            raise AssertionError("a tuple of narrow tensors is named")
        dtype = dtype_of(operand) if is_tensor(operand) else ""
        if dtype not in CONTAINED and not (half and dtype == "float16"):
            return self.renamed(operand)
        if operand not in self.widened:
            self.widened[operand] = self._single(operand, dtype)
        return self.widened[operand]

    def _single(self, operand: Expr, dtype: str) -> Expr:
        if is_constant(operand):
            return constant(constant_value(operand).astype(np.float32))
        if dtype == "float16":
            return self.builder.emit(relax.op.astype(self.renamed(operand), "float32"))
        return converted(self.renamed(operand), dtype, "float32", True, "up", self.builder.emit)

    def _narrow(self, result: Expr, dtype: str) -> Expr:
        if dtype not in CONTAINED and dtype != "float16":
            return result
        if dtype == "float16":
            return relax.op.astype(result, "float16") if dtype_of(result) != "float16" else result
        return converted(result, dtype_of(result), dtype, True, "up", self.builder.emit)


def _in_single(call: Call, operands: Sequence[Expr]) -> Call:
    """Return the call on operands in single precision; of those that name their result's type only these occur."""
    if operator_name(call) in ("cumsum", "cumprod"):
        make = getattr(relax.op, operator_name(call))
        return make(operands[0], int(call.attrs.axis), "float32", bool(call.attrs.exclusive))
    return relax.Call(call.op, list(operands), call.attrs, call.ty_args)


def _container_type(ty: Any) -> Any:
    if isinstance(ty, relax.TupleType):
        return relax.TupleType([_container_type(each) for each in ty.fields])
    return relax.TensorType(ty.shape, container_of(str(ty.dtype)))


def _contained(expr: Expr) -> Expr:
    dtype = dtype_of(expr)
    if dtype not in CONTAINED:
        return expr
    return constant(constant_value(expr).view(np.dtype(container_of(dtype))))


def _types_below(expr: Expr) -> set[str]:
    """Return the element types of an expression's operands and results."""
    found = {dtype for operand in operands_of(expr) for dtype in _types_below(operand)}
    ty = getattr(expr, "ty", None)
    fields = list(ty.fields) if isinstance(ty, relax.TupleType) else [ty]
    return found | {str(field.dtype) for field in fields if isinstance(field, relax.TensorType)}
