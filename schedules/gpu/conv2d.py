"""Convolutions for graphics processors, as matrix products: of one tap in registers, any other in shared memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tvm import tirx

from ...knobs import Knobs
from ...targets.target import Target
from ...workload import Workload
from ..kernel import Kernel, writing
from ..template import NotApplicable, template
from ..vectors import flat_view, split_index
from .block_tile import write_shared_product
from .fallback import threads_of
from .tensor_core import write_tensor_core_product
from .tile import COLUMNS, Product, write_product

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any


@template("conv2d", dtypes=("float32",))
def pointwise_conv2d(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """result[n, o, pixel] = sum over i of weight[o, i] * data[n, i, pixel], the pixels of an image in one row."""
    data, weight = work.inputs[:2]
    steps = (work.attr("strides"), work.attr("padding"), work.attr("groups"))
    if weight.shape[2:] != (1, 1) or steps != ((1, 1), (0, 0, 0, 0), 1):
        raise NotApplicable
    batch, channels, *image = data.shape
    pixels, outputs = math.prod(image), weight.shape[0]
    if pixels % COLUMNS or work.output.shape != (batch, outputs, *image):
        raise NotApplicable
    if any(each.layout for each in (*work.inputs, *work.outputs)):
        raise NotApplicable
    with writing(work) as kernel:
        x, w = flat_view(kernel.inputs[0]), flat_view(kernel.inputs[1])

        def logical(n: Expr, output: Expr, pixel: Expr) -> list[Expr]:
            return [n, output, *split_index(pixel, image)]

        product = Product(
            batch=batch,
            rows=outputs,
            depth=channels,
            columns=pixels,
            a=lambda n, output, k: w[output * channels + k],
            b=lambda n, k, pixel: x[(n * channels + k) * pixels + pixel],
            logical=logical,
        )
        write_product(kernel, product, threads_of(target))
    assert kernel.function is not None
    return kernel.function


@template("conv2d", arch="cuda", dtypes=("float32",), accuracy="fast")
def tensor_core_conv2d(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """The same as :func:`implicit_gemm_conv2d`, with factors rounded to tf32."""
    return _gathered_product(work, target, write_tensor_core_product)


@template("conv2d", arch="cuda", dtypes=("float32",))
@template("conv2d", dtypes=("float32",))
def implicit_gemm_conv2d(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Any convolution as a matrix product of weights and windows, which are gathered on the way to shared memory.

    result[n, group, o, y, x] = sum over k = (i, ky, kx) of weight[group, o, k] * data[n, group, i, y', x'], the output
    pixels of all images in one row of the product; y' = y * stride + ky * dilation - padding, zero outside the image.
    """
    return _gathered_product(work, target, write_shared_product)


def _gathered_product(work: Workload, target: Target, write: Callable[[Kernel, Product, Target], None]) -> PrimFunc:
    data, weight = work.inputs[:2]
    if len(data.shape) != 4 or any(each.layout for each in (*work.inputs, *work.outputs)):
        raise NotApplicable
    batch, channels, height, width = data.shape
    groups, (strides, dilation, padding) = work.attr("groups"), map(work.attr, ("strides", "dilation", "padding"))
    inside, outputs = channels // groups, weight.shape[0] // groups
    window, image = (inside, *weight.shape[2:]), work.output.shape[2:]
    depth = math.prod(window)
    if work.output.shape != (batch, weight.shape[0], *image) or len(image) != 2:
        raise NotApplicable
    with writing(work) as kernel:
        x, w = flat_view(kernel.inputs[0]), flat_view(kernel.inputs[1])

        def element(group: Expr, k: Expr, column: Expr) -> Expr:
            channel, *tap = split_index(k, window)
            n, *pixel = split_index(column, (batch, *image))
            y, at = (pixel[d] * strides[d] + tap[d] * dilation[d] - padding[d] for d in range(2))
            value = x[((n * groups + group) * inside + channel) * (height * width) + y * width + at]
            if not any(padding):
                return value
            tests = tirx.all(y >= 0, y < height, at >= 0, at < width)
            return tirx.if_then_else(tests, value, tirx.const(0, "float32"))

        def logical(group: Expr, output: Expr, column: Expr) -> list[Expr]:
            n, *pixel = split_index(column, (batch, *image))
            return [n, group * outputs + output, *pixel]

        product = Product(
            batch=groups,
            rows=outputs,
            depth=depth,
            columns=batch * math.prod(image),
            a=lambda group, output, k: w[(group * outputs + output) * depth + k],
            b=element,
            logical=logical,
        )
        write(kernel, product, target)
    assert kernel.function is not None
    return kernel.function
