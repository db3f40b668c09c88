"""The operators that the importer takes: one row per operator and range of opsets."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvm import relax

#: A row's function: the node, then its operands (None where an optional one is left out); the results in order.
RowFunction = Callable[..., "relax.Expr | Sequence[relax.Expr]"]


@dataclass(frozen=True)
class Row:
    """One operator of one range of opsets.

    Attributes:
        name: the operator.
        domain: its domain, "" for ai.onnx.
        since: the first opset this row understands; it holds until the next row of the same operator.
        convert: the function that emits Relax for a node.
    """

    name: str
    domain: str
    since: int
    convert: RowFunction


_ROWS: dict[tuple[str, str], list[Row]] = {}


def operator(*names: str, since: int = 1, domain: str = "") -> Callable[[RowFunction], RowFunction]:
    """Return a decorator that registers a function as the row of operators. Raises ValueError if one is taken."""

    def decorate(convert: RowFunction) -> RowFunction:
        for name in names:
            rows = _ROWS.setdefault((domain, name), [])
            if any(row.since == since for row in rows):
                raise ValueError(f"operator '{name}' since opset {since} is registered twice")
            rows.append(Row(name, domain, since, convert))
            rows.sort(key=lambda row: row.since)
        return convert

    return decorate


def find_row(domain: str, name: str, opset: int) -> Row | None:
    """Return the newest row of an operator that is not newer than the opset."""
    _load_rows()
    fitting = [row for row in _ROWS.get((normal_domain(domain), name), []) if row.since <= opset]
    return fitting[-1] if fitting else None


def rows() -> list[Row]:
    """Return every row, by domain, operator and opset."""
    _load_rows()
    return [row for key in sorted(_ROWS) for row in _ROWS[key]]


def normal_domain(domain: str) -> str:
    """Return a domain with the two spellings of ONNX's own made one."""
    return "" if domain == "ai.onnx" else domain


@cache
def _load_rows() -> Any:
    package = importlib.import_module(".operators", __package__)
    modules = [f"{package.__name__}.{each.name}" for each in pkgutil.iter_modules(package.__path__)]
    return [importlib.import_module(name) for name in modules]
