"""Operators of com.microsoft that move, pick and compare elements, most of them ONNX's own under another name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from .....errors import UserError
from .....passes.tensor_functions import call
from .....tvm_names import dtype_of, is_constant, shape_of
from ..node import Node, constant, positive_axis, rank_of
from ..registry import operator
from .activation import flat_softmax
from .indexing import gather_nd
from .microsoft_linear import DOMAIN
from .pooling import max_pool
from .quantized import matmul_integer
from .sampling import grid_sample
from .shape import range_, trilu, unsqueeze
from .slicing import pad
from .unique import unique_elements

if TYPE_CHECKING:
    from tvm.relax import Expr

operator("ExpandDims", domain=DOMAIN)(unsqueeze)
operator("GatherND", domain=DOMAIN)(gather_nd)
operator("GridSample", domain=DOMAIN)(grid_sample)
operator("MatMulInteger16", domain=DOMAIN)(matmul_integer)
operator("Pad", domain=DOMAIN)(pad)
operator("Trilu", domain=DOMAIN)(trilu)


@operator("Range", domain=DOMAIN)
def range_by_one(node: Node, start: Expr, limit: Expr, step: Expr | None = None) -> Expr:
    """Numbers from start to before limit; the step is 1 where none is given."""
    step = node.const(1, start) if step is None else step
    if is_constant(start) and is_constant(limit) and is_constant(step):
        begin, end, stride = (node.array(each, "Range").reshape(-1)[0].item() for each in (start, limit, step))
        return constant(np.arange(begin, end, stride).astype(dtype_of(start)))
    return range_(node, start, limit, step)


@operator("Unique", domain=DOMAIN)
def unique_in_order(node: Node, data: Expr) -> tuple[Expr, ...]:
    """The different elements in the order of their first places, which of them each element is, how often each is."""
    values, _, group, counts = unique_elements(node, data, ordered=False)
    return values, group, counts


@operator("NhwcMaxPool", domain=DOMAIN)
def nhwc_max_pool(node: Node, data: Expr) -> Expr:
    """Maximum of each window of images whose channels are last."""
    rank = rank_of(data)
    pooled = max_pool(node, node.transpose(data, (0, rank - 1, *range(1, rank - 1))))
    return node.transpose(node.emit(pooled), (0, *range(2, rank), 1))


@operator("UnfoldTensor", domain=DOMAIN)
def unfold_tensor(node: Node, data: Expr) -> Expr:
    """All windows of ``size`` elements along ``dim``, every ``step``, along a new last axis."""
    axis = positive_axis(node.get_int("dim", -1), rank_of(data))
    size, step = node.get_int("size", 1), node.get_int("step", 1)
    length = shape_of(data)[axis]
    if not 0 < size <= length or step < 1:
        raise UserError(f"windows of {size} every {step} do not fit an axis of {length}")
    places = np.arange(0, length - size + 1, step)[:, None] + np.arange(size)
    taken = node.emit(relax.op.take(data, constant(places.reshape(-1)), axis, mode="fast"))
    shape = shape_of(data)
    parts = node.reshape(taken, (*shape[:axis], *places.shape, *shape[axis + 1 :]))
    rank = rank_of(parts)
    return node.transpose(parts, [each for each in range(rank) if each != axis + 1] + [axis + 1])


@operator("BiasAdd", domain=DOMAIN)
def bias_add(node: Node, data: Expr, bias: Expr, skip: Expr) -> Expr:
    """``x + bias + skip``."""
    return relax.op.add(node.emit(relax.op.add(data, bias)), skip)


@operator("BiasSoftmax", domain=DOMAIN)
def bias_softmax(node: Node, data: Expr, bias: Expr) -> Expr:
    """Softmax of a biased tensor over all axes from ``axis`` on, taken as one."""
    return flat_softmax(node, node.emit(relax.op.add(data, bias)))


@operator("Inverse", domain=DOMAIN)
def inverse(node: Node, data: Expr) -> Expr:
    """The inverses of square matrices."""
    if rank_of(data) < 2 or shape_of(data)[-1] != shape_of(data)[-2]:
        raise UserError(f"a tensor of shape {list(shape_of(data))} holds no square matrices")
    return call("inverse", [data])


@operator("CDist", domain=DOMAIN)
def cdist(node: Node, a: Expr, b: Expr) -> Expr:
    """Distances [M, K] between the rows of two matrices [M, N] and [K, N]."""
    metric = node.get_string("metric", "sqeuclidean")
    if metric not in ("euclidean", "sqeuclidean"):
        raise UserError(f"the distance '{metric}' is not supported: use euclidean or sqeuclidean")
    rows, others = (node.emit(relax.op.expand_dims(each, axis)) for each, axis in ((a, 1), (b, 0)))
    # The differences themselves: |a|^2 + |b|^2 - 2 a b loses digits where both are large.
    difference = node.emit(relax.op.subtract(rows, others))
    squares = node.emit(relax.op.sum(node.emit(relax.op.multiply(difference, difference)), axis=2))
    return squares if metric == "sqeuclidean" else relax.op.sqrt(squares)


@operator("CropAndResize", domain=DOMAIN)
def crop_and_resize(node: Node, data: Expr, boxes: Expr, batch: Expr, size: Expr) -> Expr:
    """Crops [boxes, C, h, w] of images, resized with aligned corners; places outside have ``extrapolation_value``.

    Boxes are y1, x1, y2, x2 in shares of the image.
    """
    mode = node.get_string("mode", "bilinear")
    sizes = node.int_list(size, "the size of CropAndResize")
    if mode not in ("bilinear", "nearest") or min(sizes) < 1:
        raise UserError(f"crops of size {list(sizes)} in the mode '{mode}' are not supported")
    count, spatial = shape_of(boxes)[0], shape_of(data)[2:]
    lines = [_crop_line(node, boxes, axis, sizes[axis], spatial[axis]) for axis in (0, 1)]
    kept = [_kept(node, line, size) for line, size in zip(lines, spatial, strict=True)]
    if mode == "nearest":
        # Of two elements that are as near, the later one.
        lines = [node.emit(relax.op.floor(node.emit(relax.op.add(each, node.const(0.5, each))))) for each in lines]
    shapes = ((count, sizes[0], 1, 1), (count, 1, sizes[1], 1))
    places = [
        node.emit(relax.op.broadcast_to(node.reshape(_centred(node, *line), shape), (count, *sizes, 1)))
        for line, shape in zip(zip(lines, spatial, strict=True), shapes, strict=True)
    ]
    grid = node.emit(relax.op.concat(places[::-1], axis=3))
    images = node.emit(relax.op.take(data, batch, axis=0, mode="wrap"))
    kind = {"bilinear": "linear", "nearest": "nearest"}[mode]
    crops = node.emit(call("grid_sample", [images, grid], mode=kind, padding="border", align_corners=1))
    rows, columns = node.reshape(kept[0], (count, 1, sizes[0], 1)), node.reshape(kept[1], (count, 1, 1, sizes[1]))
    inside = node.emit(relax.op.logical_and(rows, columns))
    return relax.op.where(inside, crops, node.const(node.get_float("extrapolation_value", 0.0), crops))


def _crop_line(node: Node, boxes: Expr, axis: int, steps: int, size: int) -> Expr:
    """Return the places [boxes, steps] along an axis in elements; one step lies in the middle of the box."""
    first, last = (node.emit(relax.op.strided_slice(boxes, [1], [column], [column + 1])) for column in (axis, axis + 2))
    scale = node.const(size - 1.0, boxes)
    if steps == 1:
        middle = node.emit(relax.op.multiply(node.emit(relax.op.add(first, last)), node.const(0.5, boxes)))
        return node.emit(relax.op.multiply(middle, scale))
    span = node.emit(relax.op.multiply(node.emit(relax.op.subtract(last, first)), scale))
    step = node.emit(relax.op.divide(span, node.const(steps - 1.0, boxes)))
    begin = node.emit(relax.op.multiply(first, scale))
    return node.emit(relax.op.add(begin, node.emit(relax.op.multiply(step, node.const(np.arange(steps), boxes)))))


def _kept(node: Node, line: Expr, size: int) -> Expr:
    """Return which places lie on the image."""
    after = node.emit(relax.op.greater_equal(line, node.const(0.0, line)))
    before = node.emit(relax.op.less_equal(line, node.const(size - 1.0, line)))
    return node.emit(relax.op.logical_and(after, before))


def _centred(node: Node, line: Expr, size: int) -> Expr:
    """Return places in elements as places from -1 to 1."""
    scaled = node.emit(relax.op.multiply(line, node.const(2.0 / max(size - 1, 1), line)))
    return node.emit(relax.op.subtract(scaled, node.const(1.0, line)))
