"""The operator ``relax.tilewright.byte_table``: a function of one byte, looked up.

    byte_table(data, table) = table[data]

Signed bytes look up by their bits: -1 is entry 255.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvm import relax
from tvm.ir import Op, register_op_attr

from ..tvm_names import dtype_of, register_operator

if TYPE_CHECKING:
    from tvm.relax import BlockBuilder, Call, Expr

#: The operator's name without ``relax.``.
NAME = "tilewright.byte_table"
#: How many values a byte has.
ENTRIES = 256


def byte_table(data: Expr, table: Expr) -> Call:
    """Return a call of the operator.

    Args:
        data: bytes, signed or not.
        table: [256] bytes; they give the result's element type.
    """
    return relax.Call(Op.get(f"relax.{NAME}"), [data, table])


def _infer_type(call: Call, _: BlockBuilder) -> Any:
    data, table = call.args
    return relax.TensorType(data.ty.shape, dtype_of(table))


def _expand(builder: BlockBuilder, call: Call) -> Expr:
    """Return the operator's result as plain Relax operators."""
    data, table = call.args
    index = builder.emit(relax.op.astype(data, "int32"))
    if dtype_of(data) == "int8":
        index = builder.emit(relax.op.bitwise_and(index, relax.const(ENTRIES - 1, "int32")))
    return relax.op.take(table, index, axis=0, mode="fast")


register_operator(f"relax.{NAME}", "A function of one byte, looked up.", _infer_type)
register_op_attr(f"relax.{NAME}", "FLegalize", _expand)
