"""The operator ``relax.tilewright.resample``: an image resized along both axes, by taps that are known beforehand.

Relax's own ``image.resize2d`` knows fewer coordinates and kernels than models use, and its meaning is fixed in its
lowering. This one takes the taps as tables; templates of the family ``resample`` make its kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvm import relax
from tvm.ir import Op, register_op_attr

from ..tvm_names import dtype_of, register_operator, shape_of

if TYPE_CHECKING:
    from tvm.relax import BlockBuilder, Call, Expr

#: The operator's name without ``relax.``.
NAME = "tilewright.resample"


def resample(data: Expr, rows: Expr, row_weights: Expr, columns: Expr, column_weights: Expr) -> Call:
    """Return a call of the operator.

        y[n, c, o, p] = sum over s, t of row_weights[s, o] * column_weights[t, p] * x[n, c, rows[s, o], columns[t, p]]

    Args:
        data: [N, C, H, W].
        rows: int32 [taps, results] positions, all of them inside the data; so ``columns``.
        row_weights: [taps, results] in the data's element type; so ``column_weights``.
    """
    return relax.Call(Op.get(f"relax.{NAME}"), [data, rows, row_weights, columns, column_weights])


def _infer_type(call: Call, _: BlockBuilder) -> Any:
    data, rows, _, columns, _ = call.args
    shape = (*shape_of(data)[:2], shape_of(rows)[1], shape_of(columns)[1])
    return relax.TensorType(shape, dtype_of(data))


def expand(builder: BlockBuilder, call: Call) -> Expr:
    """Return the operator's result as plain Relax operators: one axis after the other, tap by tap."""
    data, rows, row_weights, columns, column_weights = call.args
    data = _along(builder, data, 2, rows, row_weights)
    return _along(builder, data, 3, columns, column_weights)


def _along(builder: BlockBuilder, data: Expr, axis: int, indices: Expr, weights: Expr) -> Expr:
    taps, results = shape_of(indices)
    total = None
    for tap in range(taps):
        index, weight = (
            builder.emit(relax.op.strided_slice(table, [0], [tap], [tap + 1])) for table in (indices, weights)
        )
        index = builder.emit(relax.op.reshape(index, (results,)))
        weight = builder.emit(relax.op.reshape(weight, (results,) + (1,) * (3 - axis)))
        taken = builder.emit(relax.op.take(data, index, axis, mode="fast"))
        part = builder.emit(relax.op.multiply(taken, weight))
        total = part if total is None else builder.emit(relax.op.add(total, part))
    return total


register_operator(f"relax.{NAME}", "An image resized by tables of taps.", _infer_type)
register_op_attr(f"relax.{NAME}", "FLegalize", expand)
