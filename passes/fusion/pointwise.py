"""Which Relax operators are pointwise, and how a call of one becomes a step of a program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...tvm_names import constant_value, dtype_of, is_constant, shape_of
from ...workload import Attribute, PointwiseStep, attributes
from ..expressions import POINTWISE, operator_name

if TYPE_CHECKING:
    from tvm.relax import Call, Expr

_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "astype": ("dtype",),
    "nn.leakyrelu": ("alpha",),
    "nn.softplus": ("beta", "threshold"),
    "tilewright.decode": ("format",),
    "tilewright.encode": ("format", "saturate", "round_mode"),
}


#: How often, about, the operands of an operator stand in the expression that a kernel computes it by, where that is
#: often: polynomials of a vector, and selections that NaN passes through.
_POLYNOMIALS = "exp tanh sinh cosh asinh acosh atanh sigmoid erf power nn.gelu nn.gelu_tanh nn.silu nn.selu"
_SELECTIONS = "maximum minimum sign where nn.leakyrelu floor_mod floor_divide"
_OCCURRENCES = {
    "log": 250,
    "nn.softplus": 150,
    "tilewright.decode": 12,
    "tilewright.encode": 24,
    **dict.fromkeys(_POLYNOMIALS.split(), 24),
    **dict.fromkeys(_SELECTIONS.split(), 12),
}


def occurrences(call: Call) -> int:
    """Return how often, about, a pointwise operator's operands stand in the expression of its result."""
    if operator_name(call) in ("maximum", "minimum") and any(scalar_constant(arg) is not None for arg in call.args):
        return 1
    return _OCCURRENCES.get(operator_name(call), 1)


def is_pointwise(call: Call) -> bool:
    """Return whether every element of the result depends on the elements at its place alone."""
    return operator_name(call) in POINTWISE


def quantizes(call: Call) -> bool:
    """Return whether a call turns floats into bytes."""
    return operator_name(call) == "astype" and dtype_of(call) in ("int8", "uint8") and "float" in dtype_of(call.args[0])


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
        value = call.attrs[attribute] if name.startswith("tilewright.") else getattr(call.attrs, attribute)
        attrs[attribute] = value if isinstance(value, int | float) else str(value)
    if name == "clip":
        attrs |= {"min": call.args[1].value, "max": call.args[2].value}
    return PointwiseStep(name, args, dtype_of(call), attributes(attrs))
