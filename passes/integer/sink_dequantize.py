"""Operators that move or select elements do it on bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tvm import relax

from ...tvm_names import shape_of
from ..expressions import permutation_of, with_operands
from ..quantization import DEQUANTIZE, QUANTIZE
from ..rewrite import RewritePass, register_pass
from .grid import Grid, dequantized_operand

if TYPE_CHECKING:
    from tvm.relax import Expr

    from ..scope import Scope

_MOVES = ("reshape", "permute_dims", "strided_slice", "nn.max_pool2d", "expand_dims", "squeeze")


@register_pass("remove-requantization")
@dataclass(frozen=True)
class RemoveRequantization(RewritePass):
    """Bytes that go back to the grid they come from stay what they are.

    quantize(dequantize(q, s, z), s, z)  -->  q
    """

    roots = (QUANTIZE,)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the bytes."""
        source, grid = dequantized_operand(value.args[0], scope), Grid.of(value, scope)
        return source[0] if source and grid and source[1].same(grid) else None


@register_pass("sink-dequantize")
@dataclass(frozen=True)
class SinkDequantize(RewritePass):
    """Move bytes, then dequantize.

    reshape(dequantize(q), shape)  -->  dequantize(reshape(q, shape))
    max_pool2d(dequantize(q))      -->  dequantize(max_pool2d(q)), scales are positive
    concat(dequantize(a), dequantize(b)) on one grid  -->  dequantize(concat(a, b))
    take(dequantize(q), i)         -->  dequantize(take(q, i)), one scale
    """

    roots = (*_MOVES, "concat", "take")

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the dequantize of what the operator makes of bytes."""
        several = isinstance(value.args[0], relax.Tuple)
        fields = list(value.args[0].fields) if several else [value.args[0]]
        found = [source for each in fields if (source := dequantized_operand(each, scope))]
        if len(found) < len(fields):
            return None
        grid = found[0][1]
        if len(found) == 1 and not grid.single and value.op.name == "relax.permute_dims":
            grid = replace(grid, axis=permutation_of(value).index(grid.axis))
        elif not all(grid.same(other) for _, other in found):
            return None
        data = [data for data, _ in found]
        first = relax.Tuple(data) if several else data[0]
        return grid.dequantized(with_operands(value, [first, *value.args[1:]]))


@register_pass("quantize-before-concat")
@dataclass(frozen=True)
class QuantizeBeforeConcat(RewritePass):
    """Tensors are joined as bytes.

    quantize(concat(a, b), s, z)  -->  concat(quantize(a, s, z), quantize(b, s, z))
    """

    roots = (QUANTIZE,)

    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return the joined bytes."""
        joined, grid = scope.call(value.args[0], "concat"), Grid.of(value, scope)
        if joined is None or grid is None or not grid.single or not scope.used_once(value.args[0]):
            return None
        if not any(scope.call(each, DEQUANTIZE) is not None for each in joined.args[0].fields):
            return None
        fields = [with_operands(value, [each, *value.args[1:]]) for each in joined.args[0].fields]
        result = relax.op.concat(fields, int(joined.attrs.axis))
        assert shape_of(value) == shape_of(joined)
        return result
