"""Matrix products of bytes: unsigned rows, packed signed weights, int32 sums, with their epilogue.

Rows [..., K] as they lie, weights [N/b, K/4, b, 4], b the float32 lanes of a vector.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tvm import tirx

from ...knobs import Knobs
from ...layout import Layout
from ...targets.target import Target
from ...workload import Workload
from ..kernel import Kernel, writing
from ..template import NotApplicable, template
from ..vectors import flat_view
from .depthwise_conv2d import BYTES
from .integer_tile import STEP, IntegerTile, four_bytes
from .matmul import Product, ProductWriter, unravel
from .register_tile import tile_shape

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for weights of four rows beside each other in panels of one vector of columns."""
    _require_bytes(work)
    axes = "KN" if work.attr("b_axes") == (0, 1) else "NK"
    packed = Layout(axes, f"NK{target.lanes()}n{STEP}k")
    return work.with_layouts((None, packed, *[None] * (len(work.inputs) - 2)), (None,))


@template("matmul", arch="x86", dtypes=("uint8", "int8", "int32", "float32"), layouts=layouts)
def integer_matmul(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Keep rows x columns of the result in registers while the depth streams past, four at a time."""
    _require_bytes(work)
    if work.inputs[1].layout is None:
        raise NotApplicable
    product = Product.of(work)
    rows, columns = tile_shape(target)
    few = product.rows <= rows // 2
    vectors = knobs.choice("vectors", (1, 2, 3, 4, 6, 8), default=4 if few else columns)
    tile = knobs.choice("tile", range(1, 16), default=rows)
    unroll = knobs.choice("unroll", (1, 2, 4, 8, 16), default=8 if few else 4)
    with writing(work) as kernel:
        steps = replace(product, depth=product.depth // STEP)
        _IntegerWriter(kernel, steps, target, vectors, tile, unroll).write()
    assert kernel.function is not None
    return kernel.function


def _require_bytes(work: Workload) -> None:
    a, b = work.inputs[:2]
    plain = work.attr("a_axes") == tuple(range(len(a.shape)))
    if (a.dtype, b.dtype) != BYTES or len(b.shape) != 2 or a.shape[-1] % STEP or not plain:
        raise NotApplicable


class _IntegerWriter(ProductWriter):
    """Emits a product whose depth counts steps of four."""

    def __init__(self, kernel: Kernel, product: Product, target: Target, vectors: int, tile: int, unroll: int) -> None:
        super().__init__(kernel, product, target, vectors, tile, unroll)
        self.flat = flat_view(self.b)

    def accumulators(self, rows: int, vectors: int) -> IntegerTile:
        """Return int32 sums."""
        return IntegerTile(rows, vectors, self.lanes, self.target)

    def add_steps(self, batch: list[Expr], block: Expr, row: Expr, k: Expr, count: int) -> None:
        """Add steps of four to a tile."""
        line = self.lanes * STEP
        self.sums.steps(
            count,
            lambda at, step: four_bytes(self.a, unravel(row + at, self.product.folded), (k + step) * STEP),
            lambda vector, step, lane: self.flat[
                tirx.Ramp(((block + vector) * self.product.depth + k + step) * line, 1, line)
            ],
        )
