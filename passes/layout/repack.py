"""A change of layout as Relax operators: what ``Layout.pack`` and ``Layout.unpack`` compute, for the oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...layout import Layout
from ...tvm_names import dtype_of, shape_of
from ...winograd import WinogradLayout

if TYPE_CHECKING:
    from tvm.relax import BlockBuilder, Expr


def emit_pack(builder: BlockBuilder, value: Expr, layout: Layout) -> Expr:
    """Emit operators that store a logical tensor in a layout, padding zero."""
    from tvm import relax

    shape = shape_of(value)
    padding = [-size % block for size, block in zip(shape, layout.blocks, strict=True)]
    if any(padding):
        widths = [each for after in padding for each in (0, after)]
        value = builder.emit(relax.op.nn.pad(value, widths))
    split, position = _split(tuple(size + after for size, after in zip(shape, padding, strict=True)), layout)
    value = builder.emit(relax.op.reshape(value, split))
    return builder.emit(relax.op.permute_dims(value, [position[axis, bool(block)] for axis, block in layout.dims]))


def emit_unpack(builder: BlockBuilder, value: Expr, layout: Layout, shape: tuple[int, ...]) -> Expr:
    """Emit operators that read a tensor stored in a layout as the logical tensor of this shape."""
    from tvm import relax

    if isinstance(layout, WinogradLayout):
        return _emit_recovery(builder, value, layout, shape)
    padded = tuple(-(-size // block) * block for size, block in zip(shape, layout.blocks, strict=True))
    _, position = _split(padded, layout)
    stored = {(axis, bool(block)): at for at, (axis, block) in enumerate(layout.dims)}
    order = [stored[key] for key, _ in sorted(position.items(), key=lambda each: each[1])]
    value = builder.emit(relax.op.permute_dims(value, order))
    value = builder.emit(relax.op.reshape(value, padded))
    if padded == shape:
        return value
    axes = list(range(len(shape)))
    return builder.emit(relax.op.strided_slice(value, axes, [0] * len(axes), list(shape)))


def _split(padded: tuple[int, ...], layout: Layout) -> tuple[list[int], dict[tuple[int, bool], int]]:
    """Return the shape with each blocked axis in two, and where (axis, whether the block) stands in it."""
    split: list[int] = []
    position: dict[tuple[int, bool], int] = {}
    blocked = {axis for axis, block in layout.dims if block}
    for axis, (size, block) in enumerate(zip(padded, layout.blocks, strict=True)):
        position[axis, False] = len(split)
        split.append(size // block)
        if axis in blocked:
            position[axis, True] = len(split)
            split.append(block)
    return split, position


def _emit_recovery(builder: BlockBuilder, value: Expr, layout: WinogradLayout, shape: tuple[int, ...]) -> Expr:
    """Emit operators that read transformed weights as the weights they were made of: P u P^T, P the inverse of G."""
    from tvm import relax

    out_channels, in_channels, height, width = shape
    inverse = layout.recovery.astype("float32")
    size, dtype = inverse.shape[1], dtype_of(value)
    if layout.pairs:
        points, blocks, halves, block, _ = layout.stored_shape(shape)
        value = builder.emit(relax.op.permute_dims(value, [0, 1, 2, 4, 3]))
        value = builder.emit(relax.op.reshape(value, (points, blocks, 2 * halves, block)))
        value = builder.emit(relax.op.strided_slice(value, [2], [0], [in_channels]))
    if dtype != "float32":
        value = builder.emit(relax.op.astype(value, "float32"))
    value = builder.emit(relax.op.permute_dims(value, [1, 3, 2, 0]))
    value = builder.emit(relax.op.reshape(value, (-1, in_channels, size, size)))
    value = builder.emit(relax.op.matmul(relax.const(inverse), value))
    value = builder.emit(relax.op.matmul(value, relax.const(inverse.T.copy())))
    value = builder.emit(relax.op.strided_slice(value, [0], [0], [out_channels]))
    return value if dtype == "float32" else builder.emit(relax.op.astype(value, dtype))
