"""How ``relax.take`` becomes loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvm import te, topi

from ..tvm_names import shape_of

if TYPE_CHECKING:
    from tvm.relax import BlockBuilder, Call, Expr


def lower_take(builder: BlockBuilder, call: Call) -> Expr:
    """Return the loops of a take. One of mode "fast" reads as its indices say, which the importer has checked.

    TVM's own lowering of that mode is the same, but prints a warning about it for every kernel.
    """
    axis, mode = call.attrs.axis, str(call.attrs.mode)
    if mode != "fast" or axis is None:
        return builder.call_te(topi.take, *call.args, axis, mode=mode)
    rank = len(shape_of(call.args[0]))
    return builder.call_te(_taken, *call.args, int(axis) % rank, primfunc_name_hint="take")


def _taken(data: te.Tensor, indices: te.Tensor, axis: int) -> te.Tensor:
    rank = len(indices.shape)

    def element(*at: Any) -> Any:
        return data(*at[:axis], indices(*at[axis : axis + rank]), *at[axis + rank :])

    return te.compute([*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]], element, "T_take")
