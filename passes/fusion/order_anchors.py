"""Anchors that put elements in order: the first k, running sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...tvm_names import dtype_of, shape_of
from ...workload import Attribute, attributes
from .anchors import ANCHORS, Anchor, FindView

if TYPE_CHECKING:
    from tvm.relax import Call


@ANCHORS.register("topk")
def _topk(call: Call, _: FindView) -> Anchor | None:
    attrs = call.attrs
    if attrs.ret_type != "both":
        return None
    described: dict[str, Attribute] = {
        "axis": int(attrs.axis) % len(shape_of(call.args[0])),
        "k": int(attrs.k),
        "largest": bool(attrs.largest),
    }
    return Anchor("topk", tuple(call.args), attributes(described))


@ANCHORS.register("cumsum")
def _cumsum(call: Call, _: FindView) -> Anchor | None:
    if call.attrs.axis is None or dtype_of(call) != dtype_of(call.args[0]):
        return None
    described: dict[str, Attribute] = {
        "axis": int(call.attrs.axis) % len(shape_of(call)),
        "exclusive": bool(call.attrs.exclusive),
    }
    return Anchor("cumsum", tuple(call.args), attributes(described))
