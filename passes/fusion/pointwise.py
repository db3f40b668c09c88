"""Which Relax operators are pointwise, and how a call of one becomes a step of a program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...tvm_names import constant_value, dtype_of, is_constant, shape_of
from ...workload import Attribute, PointwiseStep, attributes

if TYPE_CHECKING:
    from tvm.relax import Call, Expr

_UNARY = """abs negative sign ceil floor round trunc sqrt rsqrt square exp log sin cos tan asin acos atan sinh cosh tanh
asinh acosh atanh sigmoid erf isnan isinf isfinite logical_not bitwise_not astype clip
nn.relu nn.leakyrelu nn.gelu nn.gelu_tanh nn.silu"""
_BINARY = """add subtract multiply divide floor_divide mod floor_mod power maximum minimum
equal not_equal less less_equal greater greater_equal
logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor left_shift right_shift"""
POINTWISE = frozenset((_UNARY + " " + _BINARY + " where").split())

_ATTRIBUTES: dict[str, tuple[str, ...]] = {"nn.leakyrelu": ("alpha",), "astype": ("dtype",)}


def operator_name(call: Call) -> str:
    """Return the operator's name without ``relax.``."""
    return str(call.op.name).removeprefix("relax.")


def is_pointwise(call: Call) -> bool:
    """Return whether every element of the result depends on the elements at its place alone."""
    return operator_name(call) in POINTWISE


def tensor_arguments(call: Call) -> list[Expr]:
    """Return the arguments that are tensors."""
    from tvm.relax import TensorType

    return [arg for arg in call.args if isinstance(getattr(arg, "ty", None), TensorType)]


def scalar_constant(expr: Expr) -> int | float | bool | None:
    """Return the value of a constant of one element, whatever its rank, else None."""
    if not is_constant(expr) or any(dim != 1 for dim in shape_of(expr)):
        return None
    value: int | float | bool = constant_value(expr).item()
    return value


def step_of(call: Call, args: tuple[int, ...]) -> PointwiseStep:
    """Return the step for a call whose tensor arguments are these values."""
    name = operator_name(call)
    attrs: dict[str, Attribute] = {}
    for attribute in _ATTRIBUTES.get(name, ()):
        value = getattr(call.attrs, attribute)
        attrs[attribute] = value if isinstance(value, int | float) else str(value)
    if name == "clip":
        attrs |= {"min": call.args[1].value, "max": call.args[2].value}
    return PointwiseStep(name, args, dtype_of(call), attributes(attrs))
