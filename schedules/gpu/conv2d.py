"""Convolutions of one tap for graphics processors: matrix products of weights and pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...knobs import Knobs
from ...targets.target import Target
from ...workload import Workload
from ..kernel import writing
from ..template import NotApplicable, template
from ..vectors import flat_view, split_index
from .fallback import threads_of
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
