"""Anchors: the operators around which a group forms, and what a workload says of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...atoms import Undecided
from ...recurrent import Recurrence
from ...registry import Registry
from ...tree_ensemble import TreeEnsemble
from ...tvm_names import dtype_of, is_constant, shape_of
from ...workload import Attribute, attributes
from ..expressions import axes_of, ints, operator_name, permutation_of
from ..nbits import MATMUL, TAKE

if TYPE_CHECKING:
    from tvm.relax import Call, Expr, Var


@dataclass(frozen=True)
class Anchor:
    """The part of a group that is not pointwise.

    Attributes:
        family: the workload family.
        operands: the tensors it reads.
        attrs: the family's attributes.
        views: variables between the operands and the anchor that it reads through instead of from memory.
    """

    family: str
    operands: tuple[Expr, ...]
    attrs: tuple[tuple[str, Attribute], ...]
    views: tuple[Var, ...] = ()


#: Finds the call that defines an expression if its readers read through it (a transpose, a rearrangement), else None.
FindView = Callable[["Expr"], "Call | None"]
ANCHORS: Registry[Callable[[Call, FindView], Anchor | None]] = Registry("anchor")

#: Families that read transposed operands in place and store a transposed result.
READS_TRANSPOSED = frozenset({"matmul", "matmul_nbits"})


def reads_transposed(call: Call) -> bool:
    """Return whether a call becomes an anchor that reads transposed operands in place."""
    return operator_name(call) == "matmul" and _is_matrix_product(call)


def anchor_of(call: Call, view_of: FindView) -> Anchor | None:
    """Return the anchor a call is, None for an operator that no family describes."""
    row = ANCHORS.get(operator_name(call))

    def rearranged(expr: Expr) -> Call | None:
        view = view_of(expr)
        return None if view is None or is_widening(view) else view

    try:
        anchor = row(call, rearranged) if row else None
    except Undecided:  # the family describes what moves by numbers
        return None
    return _through_widening(anchor, view_of) if anchor else None


#: Families whose kernels read 16-bit operands where an operator's are float32.
READS_LOW = frozenset(
    (
        "nn.conv2d",
        "nn.conv2d_transpose",
        "matmul",
        "nn.softmax",
        "nn.layer_norm",
        "nn.rms_norm",
        "nn.max_pool2d",
        "nn.avg_pool2d",
        "sum",
        "mean",
        "max",
        "min",
        "tilewright.resample",
    )
)


def is_widening(call: Call) -> bool:
    """Return whether a call makes float32 of 16-bit floats, which loses nothing."""
    cast = operator_name(call) == "astype" and dtype_of(call) == "float32"
    return cast and dtype_of(call.args[0]) in ("bfloat16", "float16")


def _through_widening(anchor: Anchor, view_of: FindView) -> Anchor:
    """Return the anchor over the 16-bit tensors that its operands are made of."""
    seen = {operand: view_of(operand) for operand in anchor.operands}
    views = {operand: view for operand, view in seen.items() if view is not None and is_widening(view)}
    if not views:
        return anchor
    operands = tuple(views[each].args[0] if each in views else each for each in anchor.operands)
    attrs = dict(anchor.attrs)
    if "constant_weight" in attrs:
        attrs["constant_weight"] = is_constant(operands[1])
    return replace(anchor, operands=operands, attrs=attributes(attrs), views=(*anchor.views, *views))


def _keeps_type(call: Call) -> bool:
    """Return whether operands and result are of one element type, or bytes summed in int32.

    Families accumulate in the type they read.
    """
    operands = tuple(dtype_of(arg) for arg in call.args)
    return {*operands} == {dtype_of(call)} or (*operands, dtype_of(call)) == ("uint8", "int8", "int32")


def _is_matrix_product(call: Call) -> bool:
    return _keeps_type(call) and all(len(shape_of(arg)) >= 2 for arg in call.args)


#: Convolutions: how their weights lie.
_CONVOLUTIONS = {"nn.conv2d": "OIHW", "nn.conv2d_transpose": "IOHW"}


@ANCHORS.register(*_CONVOLUTIONS)
def _conv2d(call: Call, _: FindView) -> Anchor | None:
    attrs, name = call.attrs, operator_name(call)
    described_by = (attrs.data_layout, attrs.kernel_layout, attrs.out_layout)
    if described_by != ("NCHW", _CONVOLUTIONS[name], "NCHW") or not _keeps_type(call):
        return None
    described: dict[str, Attribute] = {
        "strides": ints(attrs.strides),
        "padding": ints(attrs.padding),
        "dilation": ints(attrs.dilation),
        "groups": int(attrs.groups),
        "constant_weight": is_constant(call.args[1]),
    }
    return Anchor(name.removeprefix("nn."), tuple(call.args), attributes(described))


@ANCHORS.register("matmul")
def _matmul(call: Call, view_of: FindView) -> Anchor | None:
    if not _is_matrix_product(call):
        return None
    operands, axes, views = [], [], []
    for operand in call.args:
        transpose = view_of(operand)
        operands.append(transpose.args[0] if transpose is not None else operand)
        axes.append(permutation_of(transpose) if transpose is not None else tuple(range(len(shape_of(operand)))))
        views += [operand] if transpose is not None else []
    described: dict[str, Attribute] = {
        "a_axes": axes[0],
        "b_axes": axes[1],
        "out_axes": tuple(range(len(shape_of(call)))),
        "constant_weight": is_constant(operands[1]),
    }
    return Anchor("matmul", tuple(operands), attributes(described), tuple(views))


@ANCHORS.register(MATMUL)
def _matmul_nbits(call: Call, _: FindView) -> Anchor:
    rank = len(shape_of(call))
    described: dict[str, Attribute] = {
        "a_axes": tuple(range(rank)),
        "b_axes": (1, 0),
        "out_axes": tuple(range(rank)),
        "bits": int(call.attrs["bits"]),
        "block": int(call.attrs["block"]),
    }
    return Anchor("matmul_nbits", tuple(call.args), attributes(described))


@ANCHORS.register(TAKE)
def _take_nbits(call: Call, _: FindView) -> Anchor:
    described: dict[str, Attribute] = {each: int(call.attrs[each]) for each in ("bits", "block", "shared")}
    return Anchor("take_nbits", tuple(call.args), attributes(described))


@ANCHORS.register("nn.softmax")
def _softmax(call: Call, _: FindView) -> Anchor:
    axis = int(call.attrs.axis) % len(shape_of(call))
    return Anchor("softmax", tuple(call.args), attributes({"axis": axis}))


@ANCHORS.register("nn.layer_norm", "nn.rms_norm")
def _norm(call: Call, _: FindView) -> Anchor | None:
    axes = axes_of(call)
    rank = len(shape_of(call))
    if axes != tuple(range(rank - len(axes), rank)):
        return None
    family = operator_name(call).removeprefix("nn.")
    return Anchor(family, tuple(call.args), attributes({"axes": axes, "epsilon": float(call.attrs.epsilon)}))


@ANCHORS.register("nn.max_pool2d", "nn.avg_pool2d")
def _pool2d(call: Call, _: FindView) -> Anchor | None:
    attrs = call.attrs
    if attrs.layout != "NCHW":
        return None
    described: dict[str, Attribute] = {
        "kind": operator_name(call).split(".")[1][:3],
        "window": ints(attrs.pool_size),
        "strides": ints(attrs.strides),
        "padding": ints(attrs.padding),
        "dilation": ints(attrs.dilation),
        "count_include_pad": bool(attrs.count_include_pad),
    }
    return Anchor("pool2d", tuple(call.args), attributes(described))


@ANCHORS.register("sum", "mean", "max", "min", "prod")
def _reduce(call: Call, _: FindView) -> Anchor:
    described: dict[str, Attribute] = {
        "kind": operator_name(call),
        "axes": axes_of(call),
        "keepdims": bool(call.attrs.keepdims),
    }
    return Anchor("reduce", tuple(call.args), attributes(described))


@ANCHORS.register("permute_dims")
def _transpose(call: Call, _: FindView) -> Anchor:
    return Anchor("transpose", tuple(call.args), attributes({"axes": permutation_of(call)}))


@ANCHORS.register("tilewright.byte_table")
def _byte_table(call: Call, _: FindView) -> Anchor:
    return Anchor("byte_table", tuple(call.args), ())


@ANCHORS.register("tilewright.resample")
def _resample(call: Call, _: FindView) -> Anchor:
    return Anchor("resample", tuple(call.args), ())


@ANCHORS.register("tilewright.recurrent")
def _recurrent(call: Call, _: FindView) -> Anchor:
    return Anchor("recurrent", tuple(call.args), Recurrence.of(dict(call.attrs.items())).attributes())


@ANCHORS.register("tilewright.tree_ensemble")
def _tree_ensemble(call: Call, _: FindView) -> Anchor:
    return Anchor("tree_ensemble", tuple(call.args), TreeEnsemble.of(dict(call.attrs.items())).attributes())
