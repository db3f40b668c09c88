"""Reductions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvm import relax

from ..node import Node
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("ReduceMean")
def mean(node: Node, a: Expr, b: Expr=None) -> Expr:
    """x."""
    return relax.op.mean(a, list(node.int_list(b,"")) if b is not None else list(node.get_ints("axes",())), bool(node.get_int("keepdims",1)))
