"""The registry of scalar operations: how one Relax pointwise operator is computed on one element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..registry import Registry
from .bindings import Bindings, Expr

Builder = Callable[[Bindings, list[Expr], dict[str, Any], str], Expr]

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
NUMBERS = FLOATS + INTEGERS
ALL = (*NUMBERS, "bool")


@dataclass(frozen=True)
class ScalarOp:
    """One scalar operation.

    Attributes:
        build: (bindings, arguments, attributes, result type) to the expression. Half-precision values arrive widened
            to float32 and the result is narrowed again, so a builder never sees float16.
        dtypes: element types of the result it makes.
        cost: arithmetic instructions for one element, about.
    """

    build: Builder
    dtypes: tuple[str, ...]
    cost: int


SCALAR_OPS: Registry[ScalarOp] = Registry("pointwise operator")


def scalar_op(*names: str, dtypes: tuple[str, ...] = NUMBERS, cost: int = 1) -> Callable[[Builder], Builder]:
    """Register the decorated builder under Relax operator names without ``relax.``."""

    def decorate(build: Builder) -> Builder:
        for name in names:
            SCALAR_OPS.add(name, ScalarOp(build, dtypes, cost))
        return build

    return decorate


def formula(*names: str, expression: Callable[..., Expr], dtypes: tuple[str, ...] = NUMBERS, cost: int = 1) -> None:
    """Register an operation that is a plain expression of its arguments, the same for every element type."""

    @scalar_op(*names, dtypes=dtypes, cost=cost)
    def build(v: Bindings, args: list[Expr], attrs: dict[str, Any], dtype: str) -> Expr:
        return expression(*args)
