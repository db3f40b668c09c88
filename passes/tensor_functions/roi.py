"""Pooling of regions of interest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import te, tirx
from tvm.tirx.script.builder import ir as T

from .expressions import clamped
from .loops import written
from .operator import tensor_function

Expr = Any


@tensor_function("roi_align")
def roi_align(
    x: te.Tensor,
    rois: te.Tensor,
    batch: te.Tensor,
    *,
    mode: str,
    size: Sequence[int],
    scale: float,
    ratio: int,
    half_pixel: int,
) -> te.Tensor:
    """RoiAlign (He et al. 2017) as ONNX states it: [R, C, *size] of x [N, C, H, W].

    Args:
        rois: [R, 4], the corners x1, y1, x2, y2, times ``scale`` in elements of x.
        batch: [R], which image each region lies in.
        mode: "avg", the mean of the samples, or "max", the largest weighted element of any sample.
        ratio: samples along each axis of a bin; 0 takes one for each element that the bin spans.
        half_pixel: whether elements lie at halves; else a region is at least one element wide.
    """
    height, width = int(x.shape[2]), int(x.shape[3])
    shape = (int(rois.shape[0]), int(x.shape[1]), *size)
    best = mode == "max"

    def write(inputs: Sequence[Any], out: Any) -> None:
        data, corners, images = inputs
        with T.grid(shape[0], size[0], size[1]) as (r, ph, pw):
            image = te.max(te.min(tirx.Cast("int64", images[r]), int(x.shape[0]) - 1), 0)
            start, step, count = [], [], []
            for axis, bins in ((1, size[0]), (0, size[1])):
                low, high = (_float(corners[r, axis + end]) * scale - 0.5 * half_pixel for end in (0, 2))
                extent = high - low if half_pixel else te.max(high - low, tirx.const(1, "float32"))
                start.append(_kept(low, "start"))
                step.append(_kept(extent / bins, "step"))
                samples = te.max(tirx.Cast("int32", te.ceil(step[-1])), 0) if ratio == 0 else tirx.const(ratio, "int32")
                count.append(_kept(samples, "count"))
            with T.serial(0, shape[1]) as c:
                total, first = _kept(tirx.const(0, "float32"), "total", True), _kept(tirx.const(1, "int32"), "f", True)
                with T.serial(0, count[0]) as iy, T.serial(0, count[1]) as ix:
                    y, wx = (
                        start[axis] + (_float(p) + (_float(i) + 0.5) / _float(count[axis])) * step[axis]
                        for axis, (p, i) in enumerate(((ph, iy), (pw, ix)))
                    )
                    parts = _samples(data, image, c, _kept(y, "y"), _kept(wx, "x"), (height, width))
                    if best:
                        value = te.max(te.max(parts[0], parts[1]), te.max(parts[2], parts[3]))
                        joined = tirx.Select(first[0] == 1, value, te.max(total[0], value))
                        T.buffer_store(total, joined, [0])
                        T.buffer_store(first, tirx.const(0, "int32"), [0])
                    else:
                        T.buffer_store(total, total[0] + parts[0] + parts[1] + parts[2] + parts[3], [0])
                number = _float(te.max(count[0] * count[1], tirx.const(1, "int32")))
                T.buffer_store(out, tirx.Cast(x.dtype, total[0] if best else total[0] / number), [r, c, ph, pw])

    return written(shape, x.dtype, [x, rois, batch], write, "roi_align")


@tensor_function("max_roi_pool")
def max_roi_pool(x: te.Tensor, rois: te.Tensor, *, size: Sequence[int], scale: float) -> te.Tensor:
    """The largest element of each bin (Girshick 2015): [R, C, *size] of x [N, C, H, W], 0 for an empty bin.

    Args:
        rois: [R, 5], the image and the corners x1, y1, x2, y2, both inside, times ``scale`` in elements of x.
    """
    extents = (int(x.shape[2]), int(x.shape[3]))
    shape = (int(rois.shape[0]), int(x.shape[1]), *size)

    def write(inputs: Sequence[Any], out: Any) -> None:
        data, corners = inputs
        with T.grid(*shape) as (r, c, ph, pw):
            image = te.max(te.min(tirx.Cast("int32", corners[r, 0]), int(x.shape[0]) - 1), 0)
            low, count = [], []
            for axis, bins, at, extent in ((2, size[0], ph, extents[0]), (1, size[1], pw, extents[1])):
                first, last = (_rounded(_float(corners[r, axis + end]) * scale) for end in (0, 2))
                span = _float(te.max(last - first + 1, tirx.const(1, "int32"))) / bins
                begin = tirx.Cast("int32", te.floor(_float(at) * span)) + first
                end = tirx.Cast("int32", te.ceil((_float(at) + 1.0) * span)) + first
                low.append(_kept(te.max(te.min(begin, extent), 0), "low"))
                count.append(_kept(te.max(te.max(te.min(end, extent), 0) - low[-1], 0), "count"))
            T.buffer_store(out, tirx.const(0, x.dtype), [r, c, ph, pw])
            with T.serial(0, count[0]) as iy, T.serial(0, count[1]) as ix:
                value = data[image, c, low[0] + iy, low[1] + ix]
                starts = tirx.all(iy == 0, ix == 0)
                T.buffer_store(out, tirx.Select(starts, value, te.max(out[r, c, ph, pw], value)), [r, c, ph, pw])

    return written(shape, x.dtype, [x, rois], write, "max_roi_pool")


def _samples(data: Any, image: Expr, c: Expr, y: Expr, x: Expr, sizes: tuple[int, int]) -> list[Expr]:
    """Return the four weighted neighbours of a place, zeros where it lies outside by more than one element."""
    weights, places = [], []
    outside = tirx.const(False, "bool")
    for value, size in ((y, sizes[0]), (x, sizes[1])):
        outside = tirx.any(outside, value < -1.0, value > float(size))
        at = clamped(value, 0, size - 1)
        low = _kept(te.floor(at), "low")
        places.append([tirx.Cast("int32", low), te.min(tirx.Cast("int32", low) + 1, size - 1)])
        weights.append([_kept(1.0 - (at - low), "near"), _kept(at - low, "far")])
    zero = tirx.const(0, "float32")
    return [
        tirx.Select(outside, zero, weights[0][i] * weights[1][j] * _float(data[image, c, places[0][i], places[1][j]]))
        for i in (0, 1)
        for j in (0, 1)
    ]


def _kept(value: Expr, name: str, whole: bool = False) -> Any:
    """Return a value stored once, so that expressions do not grow; the buffer itself with ``whole``."""
    buffer = T.alloc_buffer((1,), value.ty.dtype)
    T.buffer_store(buffer, value, [0])
    return buffer if whole else buffer[0]


def _rounded(value: Expr) -> Expr:
    """Return the nearest integer, halves away from zero."""
    away = te.floor(te.abs(value) + 0.5)
    return tirx.Cast("int32", tirx.Select(value < 0.0, -away, away))


def _float(value: Expr) -> Expr:
    return tirx.Cast("float32", value)
