"""Arithmetic on elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvm import relax

from ..node import Node
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("Add")
def add(node: Node, a: Expr, b: Expr) -> Expr:
    """x."""
    return relax.op.add(a, b)

@operator("Relu")
def relu(node: Node, a: Expr) -> Expr:
    """x."""
    return relax.op.nn.relu(a)
