"""Relax operators defined by tensor expressions: one definition gives the type of the result and the kernel.

    @tensor_function("double")
    def double(x: te.Tensor) -> te.Tensor: ...

registers ``relax.tilewright.double``; ``call("double", [x])`` is a call of it. Fusion makes of such a call an opaque
group, whose kernel comes from the definition by way of the generic schedule.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from tvm import relax, te
from tvm.ir import Op, make_node, register_op_attr

from ...tvm_names import dtype_of, register_operator, shape_of

if TYPE_CHECKING:
    from tvm.relax import BlockBuilder, Call, Expr

#: From the operands and the attributes (keywords: numbers, strings, sequences of integers) to the result.
TensorFunction = Callable[..., "te.Tensor"]


def tensor_function(name: str) -> Callable[[TensorFunction], TensorFunction]:
    """Return a decorator that registers a tensor expression as the operator ``relax.tilewright.NAME``."""

    def decorate(function: TensorFunction) -> TensorFunction:
        operator = f"relax.tilewright.{name}"

        def infer_type(call: Call, _: BlockBuilder) -> Any:
            operands = [te.placeholder(shape_of(each), dtype_of(each), f"p{at}") for at, each in enumerate(call.args)]
            result = function(*operands, **_attributes(call))
            return relax.TensorType(tuple(int(dim) for dim in result.shape), result.dtype)

        def legalize(builder: BlockBuilder, call: Call) -> Expr:
            attributes = _attributes(call)
            return builder.call_te(
                lambda *operands: function(*operands, **attributes), *call.args, primfunc_name_hint=name
            )

        register_operator(operator, function.__doc__ or name, infer_type)
        register_op_attr(operator, "FLegalize", legalize)
        return function

    return decorate


def call(name: str, operands: Sequence[Expr], **attributes: int | float | str | Sequence[int]) -> Call:
    """Return a call of a registered tensor function; equal functions of equal operands have equal attributes."""
    _load()
    given = {key: list(each) if isinstance(each, list | tuple) else each for key, each in attributes.items()}
    return relax.Call(Op.get(f"relax.tilewright.{name}"), list(operands), make_node("ir.DictAttrs", **given))


def _attributes(call: Call) -> dict[str, Any]:
    return {str(key): _plain(value) for key, value in call.attrs.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return str(value)
    return value if isinstance(value, bool | int | float) else tuple(int(each) for each in value)


@cache
def _load() -> Any:
    package = importlib.import_module(__package__)
    names = [each.name for each in pkgutil.iter_modules(package.__path__)]
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]
