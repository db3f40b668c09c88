"""Operators that move elements and compute nothing: reshapes, transposes, broadcasts and blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper
from onnx.helper import tensor_dtype_to_np_dtype
from tvm import relax

from .....dims import dim_expression
from .....errors import UserError
from .....shapes import broadcast_shape, is_static
from .....tvm_names import dtype_of, expressions, shape_of
from ..node import Node, constant, positive_axis, rank_of
from ..registry import operator
from ..run_time_sizes import Sized, elements_of, expanded, reshaped

if TYPE_CHECKING:
    from tvm.relax import Expr


@operator("Reshape")
def reshape_attribute(node: Node, data: Expr) -> Expr:
    """Another shape, given by the attribute ``shape`` before opset 5."""
    return _reshape(node, data, node.get_ints("shape", ()))


@operator("Reshape", since=5)
def reshape(node: Node, data: Expr, shape: Expr) -> Expr:
    """Another shape; -1 is what remains and 0 keeps the dimension, unless ``allowzero`` (opset 14)."""
    if node.is_known(shape):
        return _reshape(node, data, node.int_list(shape, "the shape of Reshape"))
    return reshaped(node, data, elements_of(node, shape), bool(node.get_int("allowzero", 0)))


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


@operator("Expand")
def expand(node: Node, data: Expr, shape: Expr) -> Expr:
    """Data broadcast with a shape, both ways."""
    if node.is_known(shape):
        wanted = node.int_list(shape, "the shape of Expand")
    else:
        data, wanted = expanded(node, data, elements_of(node, shape))
    target = broadcast_shape(shape_of(data), wanted)
    if target == shape_of(data):
        return data
    return relax.op.broadcast_to(data, relax.ShapeExpr(expressions(target)))


@operator("Tile", since=6)
def tile(node: Node, data: Expr, repeats: Expr) -> Expr:
    """Data repeated along each axis."""
    sized = Sized(node, data)
    times = sized.sizes(repeats, "the repeats of Tile")
    return repeated(node, sized.data, times)


def repeated(node: Node, data: Expr, times: Sequence[int]) -> Expr:
    """Data repeated so often along each axis; what only a run knows broadcasts along an axis before: d -> t x d."""
    if is_static(times):
        return data if all(each == 1 for each in times) else relax.op.tile(data, list(times))
    shape = shape_of(data)
    if len(times) != len(shape):
        raise UserError(f"it has {len(times)} repeats for {len(shape)} axes")
    pairs = list(zip(times, shape, strict=True))
    rows = node.reshape(data, [each for time, size in pairs for each in ((1, size) if time != 1 else (size,))])
    spread = [each for pair in pairs for each in (pair if pair[0] != 1 else pair[1:])]
    wide = node.emit(relax.op.broadcast_to(rows, relax.ShapeExpr(expressions(spread))))
    return node.reshape(wide, [time * size for time, size in pairs])


@operator("ConstantOfShape")
def constant_of_shape(node: Node, shape: Expr) -> Expr:
    """A tensor filled with one value; reached only where it is too large to be folded."""
    value = node.get_tensor("value")
    fill = constant(np.zeros((), np.float32) if value is None else numpy_helper.to_array(value).reshape(()))
    if not node.is_known(shape):
        sized = Sized(node, node.reshape(fill, (1,)))
        wanted = relax.ShapeExpr(expressions(sized.sizes(shape, "the shape of ConstantOfShape")))
        return relax.op.broadcast_to(sized.data, wanted)
    dims = node.int_list(shape, "the shape of ConstantOfShape")
    return relax.op.full(relax.ShapeExpr(expressions(dims)), fill, dtype_of(fill))


@operator("Range", since=11)
def range_(node: Node, start: Expr, limit: Expr, step: Expr) -> Expr:
    """Numbers from start to before limit, as far apart as step says."""
    if not all(map(node.is_known, (start, limit, step))):
        return _range_of_data(node, start, limit, step)
    begin, end, stride = (node.int_list(each, "the bounds of Range")[0] for each in (start, limit, step))
    if stride < 1:
        raise UserError("a range that runs backwards needs constant bounds")
    return relax.op.arange(dim_expression(begin), dim_expression(end), stride, dtype_of(start))


def _range_of_data(node: Node, start: Expr, limit: Expr, step: Expr) -> Expr:
    """Return ``start + step * arange(count)``; the count is the next whole number of (limit - start) / step, or none.

    Where nothing bounds the operands, so that the greatest count is not known, it is refused.
    """
    begin, end, stride = (node.cast(node.reshape(each, (1,)), "float64") for each in (start, limit, step))
    span = node.emit(relax.op.divide(node.emit(relax.op.subtract(end, begin)), stride))
    count = node.emit(relax.op.ceil(node.emit(relax.op.maximum(span, node.const([0], span)))))
    sized = Sized(node, node.reshape(start, (1,)))
    length = sized.size(node.cast(count, "int64"), "the number of elements of Range")
    places = node.cast(node.emit(relax.op.arange(0, dim_expression(length), 1, "int64")), dtype_of(start))
    steps = node.emit(relax.op.multiply(places, node.reshape(step, (1,))))
    return relax.op.add(steps, sized.data)


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


@operator("EyeLike", since=9)
def eye_like(node: Node, data: Expr) -> Expr:
    """Ones on the diagonal ``k`` of a matrix of data's shape, zeros elsewhere."""
    rows, columns = shape_of(data)
    dtype = tensor_dtype_to_np_dtype(node.get_int("dtype", 0)).name if node.has("dtype") else dtype_of(data)
    return constant(np.eye(rows, columns, node.get_int("k", 0), np.dtype(dtype)))


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
