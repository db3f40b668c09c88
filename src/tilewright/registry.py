"""A registry: names to things, where a duplicate is an error and an unknown name offers its neighbours."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from .errors import UserError

T = TypeVar("T")
#: Up to so many rows an error lists them all.
_FEW = 10


def nearest(name: str, known: list[str]) -> str:
    """Return ``" (did you mean 'a', 'b'?)"`` for the closest known names, or an empty string."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if not close:
        return ""
    return " (did you mean " + ", ".join(f"'{each}'" for each in close) + "?)"


class Registry(Generic[T]):
    """Rows of one kind, by name.

    Args:
        kind: what a row is, in the singular; it appears in the error for an unknown name.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._rows: dict[str, T] = {}

    def add(self, name: str, row: T) -> T:
        """Add a row. Raises ValueError for a name that is taken."""
        if name in self._rows:
            raise ValueError(f"{self.kind} '{name}' is registered twice")
        self._rows[name] = row
        return row

    def register(self, *names: str) -> Callable[[T], T]:
        """Return a decorator that adds its function or class under every name given."""

        def decorate(row: T) -> T:
            for name in names:
                self.add(name, row)
            return row

        return decorate

    def __getitem__(self, name: str) -> T:
        """Return the row. Raises UserError naming the nearest rows when there is none."""
        if name not in self._rows:
            raise UserError(f"unknown {self.kind} '{name}'{nearest(name, self.names()) or self._choice()}")
        return self._rows[name]

    def _choice(self) -> str:
        """Return all names, for people, where they are few."""
        return f": it is one of {', '.join(self.names())}" if 0 < len(self._rows) <= _FEW else ""

    def get(self, name: str) -> T | None:
        """Return the row, or None."""
        return self._rows.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._rows)
