"""Dimensions from text: what ``str`` made of one, and arithmetic that people and exporters write."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache

from .dims import operation, symbol


@cache
def parse(text: str) -> int:
    """Return the dimension of a text that ``str`` made. Raises ValueError for any other text."""

    def leaf(node: ast.expr) -> int | None:
        if not (isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)):
            return None
        ends = node.slice
        if not isinstance(ends, ast.Slice) or ends.lower is None or ends.upper is None:
            return None
        return symbol(node.value.id, ast.literal_eval(ends.lower), ast.literal_eval(ends.upper))

    return evaluate(text, leaf)


def evaluate(text: str, leaf: Callable[[ast.expr], int | None]) -> int:
    """Return the dimension that an arithmetic expression in Python's grammar stands for.

    Args:
        leaf: the dimension of a symbol as the text writes it, None for anything else.

    Raises ValueError for what is no such expression.
    """
    try:
        return _value(ast.parse(text.strip(), mode="eval").body, leaf)
    except (SyntaxError, RecursionError, ZeroDivisionError, MemoryError) as error:
        raise ValueError(f"'{text}' is not a dimension") from error


_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Div: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
}


def _value(node: ast.expr, leaf: Callable[[ast.expr], int | None]) -> int:
    found = leaf(node)
    if found is not None:
        return found
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, leaf)
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](_value(node.left, leaf), _value(node.right, leaf))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("min", "max"):
        left, right = (_value(each, leaf) for each in node.args)
        return operation(node.func.id, left, right)
    raise ValueError(f"'{ast.unparse(node)}' is not a dimension")
