"""Operators that move elements and compute nothing: reshapes, transposes, joins and cuts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper
from tvm import relax

from .....errors import UserError
from .....tvm_names import dtype_of, shape_of
from ..node import Node, constant, positive_axis, rank_of
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("Reshape")
def reshape_attribute(node: Node, data: Expr) -> Expr:
    """Another shape, given by the attribute ``shape`` before opset 5."""
    return _reshape(node, data, node.get_ints("shape", ()))


@operator("Reshape", since=5)
def reshape(node: Node, data: Expr, shape: Expr) -> Expr:
    """Another shape; -1 is what remains and 0 keeps the dimension, unless ``allowzero`` (opset 14)."""
    return _reshape(node, data, node.int_list(shape, "the shape of Reshape"))


@operator("Flatten")
def flatten(node: Node, data: Expr) -> Expr:
    """Two dimensions: those before ``axis`` and the others; it becomes a reshape."""
    shape = shape_of(data)
    axis = node.get_int("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return node.reshape(data, (math.prod(shape[:axis]), math.prod(shape[axis:])))


@operator("Transpose")
def transpose(node: Node, data: Expr) -> Expr:
    """Permuted axes, reversed where ``perm`` is not given."""
    return node.transpose(data, node.get_ints("perm", tuple(reversed(range(rank_of(data))))))


def _reshape(node: Node, data: Expr, target: tuple[int, ...]) -> Expr:
    shape = shape_of(data)
    if not node.get_int("allowzero", 0):
        if any(dim == 0 and index >= len(shape) for index, dim in enumerate(target)):
            raise UserError(f"its shape {list(target)} copies a dimension that {list(shape)} does not have")
        target = tuple(shape[index] if dim == 0 else dim for index, dim in enumerate(target))
    known = math.prod(dim for dim in target if dim != -1)
    total = math.prod(shape)
    if target.count(-1) > 1 or (known != total and (-1 not in target or known == 0 or total % known)):
        raise UserError(f"a tensor of shape {list(shape)} cannot take the shape {list(target)}")
    return node.reshape(data, tuple(total // known if dim == -1 else dim for dim in target))


@operator("Squeeze")
def squeeze(node: Node, data: Expr, axes: Expr | None = None) -> Expr:
    """Dimensions of size 1 left out; it becomes a reshape. The axes are an operand since opset 13."""
    shape = shape_of(data)
    given = node.get_ints("axes", ()) if axes is None else node.int_list(axes, "the axes of Squeeze")
    dropped = {positive_axis(axis, len(shape)) for axis in given}
    if not given and axes is None and not node.has("axes"):
        dropped = {axis for axis, size in enumerate(shape) if size == 1}
    if any(shape[axis] != 1 for axis in dropped):
        raise UserError(f"a tensor of shape {list(shape)} cannot lose the axes {sorted(dropped)}")
    return node.reshape(data, [size for axis, size in enumerate(shape) if axis not in dropped])


@operator("Unsqueeze")
def unsqueeze(node: Node, data: Expr, axes: Expr | None = None) -> Expr:
    """Dimensions of size 1 put in; it becomes a reshape. The axes are an operand since opset 13."""
    given = node.get_ints("axes", ()) if axes is None else node.int_list(axes, "the axes of Unsqueeze")
    rank = rank_of(data) + len(given)
    added = {positive_axis(axis, rank) for axis in given}
    sizes = iter(shape_of(data))
    return node.reshape(data, [1 if axis in added else next(sizes) for axis in range(rank)])


@operator("Concat")
def concat(node: Node, *operands: Expr) -> Expr:
    """Tensors joined along an axis (1 where opsets before 4 do not say); those without elements are left out."""
    axis = positive_axis(node.get_int("axis", 1), rank_of(operands[0]))
    kept = [each for each in operands if 0 not in shape_of(each)]
    return kept[0] if len(kept) == 1 else relax.op.concat(kept, axis)


@operator("Split")
def split(node: Node, data: Expr, sizes: Expr | None = None) -> tuple[Expr, ...]:
    """A tensor cut along an axis into given sizes (an operand since opset 13) or as evenly as can be."""
    axis = positive_axis(node.get_int("axis", 0), rank_of(data))
    total = shape_of(data)[axis]
    given = node.get_ints("split", ()) if sizes is None else node.int_list(sizes, "the sizes of Split")
    if not given:
        count = len(node.proto.output)
        each = -(-total // count)
        given = (*(each,) * (count - 1), total - each * (count - 1))
    if sum(given) != total or min(given) < 0:
        raise UserError(f"{total} elements cannot be split into {list(given)}")
    full = [size for size in given if size]
    if len(full) == 1:
        pieces = iter([data])
    else:
        cuts = [sum(full[:index]) for index in range(1, len(full))]
        parts = node.emit(relax.op.split(data, cuts, axis))
        pieces = iter([node.emit(relax.TupleGetItem(parts, index)) for index in range(len(full))])
    return tuple(next(pieces) if size else _empty(data, axis) for size in given)


@operator("Slice")
def slice_attributes(node: Node, data: Expr) -> Expr:
    """Elements between ``starts`` and ``ends`` along axes, given by attributes before opset 10."""
    starts, ends = node.get_ints("starts", ()), node.get_ints("ends", ())
    return _slice(node, data, starts, ends, node.get_ints("axes", tuple(range(len(starts)))), (1,) * len(starts))


@operator("Slice", since=10)
def slice_operands(
    node: Node, data: Expr, starts: Expr, ends: Expr, axes: Expr | None = None, steps: Expr | None = None
) -> Expr:
    """Every ``steps``-th element from ``starts`` to before ``ends`` along axes, clamped as Python's slices are."""
    first = node.int_list(starts, "the starts of Slice")
    last = node.int_list(ends, "the ends of Slice")
    along = tuple(range(len(first))) if axes is None else node.int_list(axes, "the axes of Slice")
    stride = (1,) * len(first) if steps is None else node.int_list(steps, "the steps of Slice")
    return _slice(node, data, first, last, along, stride)


@operator("Expand")
def expand(node: Node, data: Expr, shape: Expr) -> Expr:
    """Data broadcast with a shape, both ways."""
    target = tuple(int(dim) for dim in np.broadcast_shapes(shape_of(data), node.int_list(shape, "the shape of Expand")))
    return data if target == shape_of(data) else relax.op.broadcast_to(data, target)


@operator("Tile", since=6)
def tile(node: Node, data: Expr, repeats: Expr) -> Expr:
    """Data repeated along each axis."""
    times = node.int_list(repeats, "the repeats of Tile")
    return data if all(each == 1 for each in times) else relax.op.tile(data, times)


@operator("ConstantOfShape")
def constant_of_shape(node: Node, shape: Expr) -> Expr:
    """A tensor filled with one value; reached only where it is too large to be folded."""
    value = node.get_tensor("value")
    fill = constant(np.zeros((), np.float32) if value is None else numpy_helper.to_array(value).reshape(()))
    return relax.op.full(node.int_list(shape, "the shape of ConstantOfShape"), fill, dtype_of(fill))


@operator("Pad")
def pad_attributes(node: Node, data: Expr) -> Expr:
    """Padding given by attributes before opset 11."""
    widths = node.get_ints("pads", node.get_ints("paddings", ()))
    return _pad(node, data, widths, node.get_float("value", 0.0), tuple(range(rank_of(data))))


@operator("Pad", since=11)
def pad(node: Node, data: Expr, pads: Expr, value: Expr | None = None, axes: Expr | None = None) -> Expr:
    """Elements added at the ends of axes (some only, since opset 18), or cut off where a width is negative."""
    widths = node.int_list(pads, "the pads of Pad")
    fill = 0.0 if value is None else node.array(value, "the value of Pad").reshape(-1)[0].item()
    along = tuple(range(rank_of(data))) if axes is None else node.int_list(axes, "the axes of Pad")
    return _pad(node, data, widths, fill, along)


@operator("DepthToSpace")
def depth_to_space(node: Node, data: Expr) -> Expr:
    """Blocks of channels moved into space; ``mode`` (opset 11) says in which order."""
    batch, channels, height, width = shape_of(data)
    block = node.get_int("blocksize", 1)
    depth = channels // block**2
    if node.get_string("mode", "DCR") == "DCR":
        parts = node.reshape(data, (batch, block, block, depth, height, width))
        moved = node.transpose(parts, (0, 3, 4, 1, 5, 2))
    else:
        parts = node.reshape(data, (batch, depth, block, block, height, width))
        moved = node.transpose(parts, (0, 1, 4, 2, 5, 3))
    return node.reshape(moved, (batch, depth, height * block, width * block))


@operator("SpaceToDepth")
def space_to_depth(node: Node, data: Expr) -> Expr:
    """Blocks of space moved into channels; ``mode`` (opset 28) says in which order."""
    batch, channels, height, width = shape_of(data)
    block = node.get_int("blocksize", 1)
    parts = node.reshape(data, (batch, channels, height // block, block, width // block, block))
    order = (0, 3, 5, 1, 2, 4) if node.get_string("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    moved = node.transpose(parts, order)
    return node.reshape(moved, (batch, channels * block**2, height // block, width // block))


@operator("Trilu")
def trilu(node: Node, data: Expr, offset: Expr | None = None) -> Expr:
    """The upper or lower triangle of each matrix, zeros elsewhere."""
    diagonal = 0 if offset is None else node.int_list(offset, "the diagonal of Trilu")[0]
    return (relax.op.triu if node.get_int("upper", 1) else relax.op.tril)(data, diagonal)


def _slice(
    node: Node,
    data: Expr,
    starts: tuple[int, ...],
    ends: tuple[int, ...],
    axes: tuple[int, ...],
    steps: tuple[int, ...],
) -> Expr:
    shape = shape_of(data)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise UserError("its starts, ends, axes and steps do not belong together")
    bounds: dict[int, tuple[int, int, int]] = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        along = positive_axis(axis, len(shape))
        bounds[along] = slice(start, end, step).indices(shape[along])
    kept = {axis: each for axis, each in bounds.items() if each != (0, shape[axis], 1)}
    for axis, each in kept.items():
        if len(range(*each)) == 0:
            return _empty(data, axis)
    if not kept:
        return data
    if all(step == -1 and len(range(start, end, step)) == shape[axis] for axis, (start, end, step) in kept.items()):
        for axis in kept:
            data = node.emit(relax.op.flip(data, axis))
        return data
    return _strided(node, data, kept)


def _empty(data: Expr, axis: int) -> Expr:
    """Return a constant like data with no elements along an axis."""
    shape = shape_of(data)
    return constant(np.zeros((*shape[:axis], 0, *shape[axis + 1 :]), np.dtype(dtype_of(data))))


def _strided(node: Node, data: Expr, bounds: dict[int, tuple[int, int, int]]) -> Expr:
    for axis, (start, end, step) in list(bounds.items()):
        if step < 0:
            # Backwards is forwards over the mirrored axis.
            size = shape_of(data)[axis]
            data = node.emit(relax.op.flip(data, axis))
            count = len(range(start, end, step))
            first = size - 1 - start
            bounds[axis] = (first, first + (count - 1) * -step + 1, -step)
    axes = sorted(bounds)
    begins, ends, steps = (list(each) for each in zip(*(bounds[axis] for axis in axes), strict=True))
    return relax.op.strided_slice(data, axes, begins, ends, steps)


#: ONNX's padding modes in TVM's words.
_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _pad(node: Node, data: Expr, widths: tuple[int, ...], fill: float, axes: tuple[int, ...]) -> Expr:
    if len(widths) != 2 * len(axes):
        raise UserError(f"it has {len(widths)} pads for {len(axes)} axes")
    rank = rank_of(data)
    mode = node.get_string("mode", "constant")
    before, after = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        along = positive_axis(axis, rank)
        before[along], after[along] = widths[index], widths[index + len(axes)]
    cuts = {
        axis: (max(-before[axis], 0), size - max(-after[axis], 0), 1)
        for axis, size in enumerate(shape_of(data))
        if before[axis] < 0 or after[axis] < 0
    }
    if cuts:
        data = node.emit(_strided(node, data, cuts))
    pairs = [max(width, 0) for both in zip(before, after, strict=True) for width in both]
    if not any(pairs):
        return data
    if mode not in _PAD_MODES:
        raise UserError(f"the padding mode '{mode}' is not supported")
    if mode != "constant" or dtype_of(data).startswith("float"):
        return relax.op.nn.pad(data, pairs, _PAD_MODES[mode], float(fill))
    wide = node.emit(relax.op.nn.pad(node.cast(data, "float64"), pairs, "constant", float(fill)))
    return node.cast(wide, dtype_of(data))
