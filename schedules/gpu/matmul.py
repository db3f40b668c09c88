"""Matrix products for graphics processors, with their epilogue: tiles in shared memory, or in registers alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...knobs import Knobs
from ...targets.target import Target
from ...workload import Workload
from ..access import broadcast_indices
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


@template("matmul", dtypes=("float32",))
def tiled_matmul(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Take leading dimensions as rows where one matrix serves all of them, else as a batch that both operands have."""
    a, b = work.inputs[:2]
    operands = (("a", a), ("b", b), ("out", work.output))
    plain = all(work.attr(f"{name}_axes") == tuple(range(len(each.shape))) for name, each in operands)
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


@template("matmul", arch="cuda", dtypes=("float32",), accuracy="fast")
def tensor_core_matmul(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """The same as :func:`shared_matmul`, with factors rounded to tf32."""
    return _blocked_product(work, target, write_tensor_core_product)


@template("matmul", arch="cuda", dtypes=("float32",))
def shared_matmul(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Any product of matrices, its operands and its result transposed or not, leading dimensions broadcast.

    Leading dimensions are rows where one matrix serves all of them.
    """
    return _blocked_product(work, target, write_shared_product)


def _blocked_product(work: Workload, target: Target, write: Callable[[Kernel, Product, Target], None]) -> PrimFunc:
    a_axes, b_axes, out_axes = (work.attr(f"{name}_axes") for name in ("a", "b", "out"))
    a, b = ([each.shape[at] for at in axes] for each, axes in zip(work.inputs[:2], (a_axes, b_axes), strict=True))
    if min(len(a), len(b)) < 2 or any(each.layout for each in (*work.inputs, *work.outputs)):
        raise NotApplicable
    shape = _scattered(work.output.shape, out_axes)
    leading, outside = ((), shape[:-1]) if len(b) == 2 else (shape[:-2], shape[-2:-1])
    depth = a[-1]
    with writing(work) as kernel:

        def logical(batch: Expr, row: Expr, column: Expr) -> list[Expr]:
            return [*split_index(batch, leading), *split_index(row, outside), column]

        def left(batch: Expr, row: Expr, k: Expr) -> Expr:
            index = broadcast_indices(a, logical(batch, row, k), (*shape[:-1], depth))
            return kernel.inputs[0][_scattered(index, a_axes)]

        def right(batch: Expr, k: Expr, column: Expr) -> Expr:
            index = broadcast_indices(b, [*split_index(batch, leading), k, column], (*leading, depth, shape[-1]))
            return kernel.inputs[1][_scattered(index, b_axes)]

        product = Product(
            batch=math.prod(leading),
            rows=math.prod(outside),
            depth=depth,
            columns=shape[-1],
            a=left,
            b=right,
            logical=logical,
            shape=shape,
            axes=out_axes,
            a_by_depth=a_axes[-1] == len(a) - 1,
            b_by_depth=b_axes[-1] != len(b) - 1,
        )
        write(kernel, product, target)
    assert kernel.function is not None
    return kernel.function


def _scattered(values: Sequence[Any], axes: Sequence[int]) -> tuple[Any, ...]:
    """Return the values of a transpose by ``axes`` in the order of what was transposed."""
    return tuple(value for _, value in sorted(zip(axes, values, strict=True), key=lambda pair: pair[0]))
