"""The operator ``relax.tilewright.bind_sizes``: a size that a kernel has computed becomes a symbol.

    values [64], count [1]  -->  bind_sizes(values, count): [found], found the symbol that count holds

The result lies where the data lies and may be shorter: its elements are the first ones. Kernels after it take the
symbol like any other, and the plan reads it from the count just there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvm import relax
from tvm.ir import Op, make_node

from ..dims import upper
from ..tvm_names import dtype_of, expressions, register_operator

if TYPE_CHECKING:
    from tvm.relax import BlockBuilder, Call, Expr

#: The operator's name without ``relax.``.
NAME = "tilewright.bind_sizes"


def bind_sizes(data: Expr, count: Expr, symbol: int, shape: tuple[int, ...]) -> Call:
    """Return a call of the operator.

    Args:
        data: at least as many elements as the result has at its largest.
        count: int64 [1], from 0 to the symbol's bound.
        symbol: a symbol that nothing else defines.
        shape: of the result.
    """
    attrs = make_node("ir.DictAttrs", symbol=str(symbol), most=upper(symbol))
    result = relax.TensorType(expressions(shape), dtype_of(data))
    return relax.Call(Op.get(f"relax.{NAME}"), [data, count], attrs, [result])


def symbol_of(call: Call) -> str:
    """Return the text of the symbol that a call defines."""
    return str(dict(call.attrs.items())["symbol"])


def _infer_type(call: Call, _: BlockBuilder) -> Any:
    return call.ty_args[0]


register_operator(f"relax.{NAME}", "a computed size becomes a symbol", _infer_type)
