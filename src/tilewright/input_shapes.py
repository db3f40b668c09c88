"""Shapes as users write them: numbers, symbols with bounds, and expressions over symbols.

"batch<=32"         a symbol from 1 to 32
"0<=past<=64"       a symbol from 0 to 64
"past + 1"          an expression over symbols that have bounds somewhere in the same shapes
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Callable, Mapping, Sequence

from .dim_text import evaluate
from .dims import Dim, bounds, symbol
from .errors import UserError
from .registry import nearest

#: A dimension as the user writes it.
WrittenDim = int | str

_BOUNDED = re.compile(r"\s*(?:(\d+)\s*<=\s*)?([A-Za-z_]\w*)\s*<=\s*(\d+)\s*", re.ASCII)
_LARGEST = 2**31 - 1


def read_shapes(
    given: Mapping[str, Sequence[WrittenDim]],
) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Return the shapes by input name, and every symbol with bounds by its name.

    Raises UserError for a dimension that is none, and for a symbol without bounds or with two.
    """
    known: dict[str, int] = {}
    for name, shape in given.items():
        for dim in shape:
            _collect(known, name, dim)
    return {name: tuple(_read(dim, name, known) for dim in shape) for name, shape in given.items()}, known


def specialized(
    given: Mapping[str, Sequence[WrittenDim]], sizes: Mapping[str, int]
) -> dict[str, tuple[WrittenDim, ...]]:
    """Return the shapes with some symbols fixed. Raises UserError for an unknown symbol or a size out of its bounds."""
    _, known = read_shapes(given)
    for name, size in sizes.items():
        if name not in known:
            raise UserError(
                f"--specialize: no symbol '{name}' has bounds in --input-shapes{nearest(name, list(known))}"
            )
        low, high = bounds(known[name])
        if not low <= size <= high:
            raise UserError(f"--specialize: {name}={size} is not from {low} to {high}, the bounds of '{name}'")

    def fixed(dim: WrittenDim) -> WrittenDim:
        match = _BOUNDED.fullmatch(dim) if isinstance(dim, str) else None
        if match is None or match[2] not in sizes:
            return dim
        return f"{sizes[match[2]]}<={match[2]}<={sizes[match[2]]}"

    return {name: tuple(map(fixed, shape)) for name, shape in given.items()}


def _collect(known: dict[str, int], name: str, dim: WrittenDim) -> None:
    match = _BOUNDED.fullmatch(dim) if isinstance(dim, str) else None
    if match is None:
        return
    low, high = int(match[1] or 1), int(match[3])
    if keyword.iskeyword(match[2]) or match[2] in ("min", "max"):
        raise UserError(f"'{match[2]}' cannot be a symbol of input '{name}': take another word")
    if not low <= high <= _LARGEST:
        raise UserError(f"the bounds '{dim}' of input '{name}' hold no size: write {match[2]}<=8")
    made = symbol(match[2], low, high)
    if known.setdefault(match[2], made) != made:
        raise UserError(f"the symbol '{match[2]}' is given two bounds (input '{name}'): give them once")


def _read(dim: WrittenDim, name: str, known: Mapping[str, int]) -> int:
    if not isinstance(dim, str):
        return dim
    match = _BOUNDED.fullmatch(dim)
    if match:
        return known[match[2]]
    try:
        return evaluate(dim, _leaf(known))
    except KeyError as error:
        raise UserError(
            f"the dimension '{dim}' of input '{name}' has no upper bound: write {error.args[0]}<=N, N its largest size"
        ) from error
    except ValueError as error:
        raise UserError(f"'{dim}' is not a dimension of input '{name}': write 8, batch<=8 or past + 1") from error


def _leaf(known: Mapping[str, int]) -> Callable[[ast.expr], int | None]:
    def leaf(node: ast.expr) -> int | None:
        return known[node.id] if isinstance(node, ast.Name) else None

    return leaf


def resolve(dim: str, known: Mapping[str, int]) -> int | None:
    """Return what a dimension of a model's file stands for; None where it holds a symbol that is not known.

    Exporters write names ("batch_size") and expressions over them ("past_sequence_length + 1").
    """
    if dim in known:
        return known[dim]
    try:
        found = evaluate(dim, _leaf(known))
    except (KeyError, ValueError):
        return None
    return found if isinstance(found, Dim) or found > 0 else None
