"""Matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvm import relax

from .....passes.tensor_functions import call
from .....tvm_names import shape_of
from ..node import Node, rank_of
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("MatMul")
def matmul(node: Node, a: Expr, b: Expr) -> Expr:
    """Matrix product with numpy's broadcasting; every opset says the same."""
    return relax.op.matmul(a, b)


@operator("Gemm")
def gemm(node: Node, a: Expr, b: Expr, c: Expr | None = None) -> Expr:
    """``alpha * a' @ b' + beta * c``, with a and b transposed where the node says so.

    A constant weight is transposed at once, so that what remains is matmul and add; opsets before 7 marked a
    broadcast that numpy's rules cover.
    """
    if node.get_int("transA", 0):
        a = node.transpose(a, (1, 0))
    if node.get_int("transB", 0):
        b = node.transpose(b, (1, 0))
    out = node.emit(relax.op.matmul(a, b))
    alpha, beta = node.get_float("alpha", 1.0), node.get_float("beta", 1.0)
    if alpha != 1.0:
        out = node.emit(relax.op.multiply(out, node.const(alpha, out)))
    if c is None or beta == 0.0:
        return out
    if beta != 1.0:
        c = node.emit(relax.op.multiply(c, node.const(beta, c)))
    if rank_of(c) == 2 and shape_of(c)[0] == 1:
        c = node.reshape(c, shape_of(c)[1:])
    return relax.op.add(out, c)


@operator("Det", since=11)
def det(node: Node, data: Expr) -> Expr:
    """The determinants of square matrices."""
    return call("determinant", [data])
