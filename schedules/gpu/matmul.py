"""Matrix products for graphics processors, with their epilogue: rows as they lie, columns in vectors."""

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


@template("matmul", dtypes=("float32",))
def tiled_matmul(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Take leading dimensions as rows where one matrix serves all of them, else as a batch that both operands have."""
    a, b = work.inputs[:2]
    plain = all(work.attr(f"{name}_axes") == tuple(range(len(each.shape))) for name, each in (("a", a), ("b", b)))
    leading, shared = a.shape[:-2], len(b.shape) == 2
    result = (*leading, a.shape[-2], b.shape[-1]) if len(a.shape) >= 2 else ()
    if not plain or result != work.output.shape or b.shape[-1] % COLUMNS or not (shared or b.shape[:-2] == leading):
        raise NotApplicable
    if any(each.layout for each in (*work.inputs, *work.outputs)):
        raise NotApplicable
    depth, columns = b.shape[-2:]
    outside = (*leading, a.shape[-2]) if shared else (a.shape[-2],)
    rows = math.prod(outside)
    with writing(work) as kernel:
        left, right = flat_view(kernel.inputs[0]), flat_view(kernel.inputs[1])

        def logical(batch: Expr, row: Expr, column: Expr) -> list[Expr]:
            before = [] if shared else split_index(batch, leading)
            return [*before, *split_index(row, outside), column]

        product = Product(
            batch=1 if shared else math.prod(leading),
            rows=rows,
            depth=depth,
            columns=columns,
            a=lambda batch, row, k: left[(batch * rows + row) * depth + k],
            b=lambda batch, k, column: right[(batch * depth + k) * columns + column],
            logical=logical,
        )
        write_product(kernel, product, threads_of(target))
    assert kernel.function is not None
    return kernel.function
