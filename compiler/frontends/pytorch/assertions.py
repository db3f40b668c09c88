"""Whether what a traced program asserts of its sizes holds for every size within their bounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

#: Assertions are tried for all sizes, up to this many.
_MOST_SIZES = 2**20


def assertions_hold(program: Any) -> bool:
    """Return whether all assertions of an ExportedProgram about sizes are true, whatever a run's sizes.

    torch cannot prove ``min(8 * past + 8, 16 * past + 16) == 8 * past + 8``; trying every size within the bounds can.
    False where a size has no bounds, or there are too many to try.
    """
    return all(_holds(node.args[0], program.range_constraints) for node in program.graph.nodes if _asserts(node))


def _asserts(node: Any) -> bool:
    import torch

    return node.op == "call_function" and node.target is torch.ops.aten._assert_scalar.default


def _holds(condition: Any, ranges: Any) -> bool:
    """Return whether a condition, a number or a node of the graph, holds for all values of its symbols."""
    import sympy

    value = condition.meta.get("val") if hasattr(condition, "meta") else condition
    expression = getattr(getattr(value, "node", None), "expr", value)
    if not isinstance(expression, sympy.Basic):
        return bool(expression)
    symbols = sorted(expression.free_symbols, key=str)
    if not symbols:
        return bool(expression == sympy.true)
    bounds = [ranges.get(each) for each in symbols]
    if any(each is None or not str(each.upper).isdigit() for each in bounds):
        return False
    values = [range(int(each.lower), int(each.upper) + 1) for each in bounds if each is not None]
    if math.prod(map(len, values)) > _MOST_SIZES:
        return False
    try:
        test = sympy.lambdify(symbols, expression, "numpy")
        return bool(np.all(test(*np.meshgrid(*values))))
    except Exception:  # an expression that numpy has no words for
        return False
