"""Names of variables in printed code: TVM's, made valid and all different."""

from __future__ import annotations

import re
from collections.abc import Iterable

_INVALID = re.compile(r"[^A-Za-z0-9_]")


class Names:
    """Gives every request a name of its own.

    Args:
        reserved: words that are never given.
    """

    def __init__(self, reserved: Iterable[str]) -> None:
        self._taken = set(reserved)
        self._next: dict[str, int] = {}

    def fresh(self, wish: str) -> str:
        """Return a name like the wish that has not been given before."""
        stem = _INVALID.sub("_", wish).strip("_") or "v"
        stem = f"v{stem}" if stem[0].isdigit() else stem
        name = stem
        while name in self._taken:
            self._next[stem] = self._next.get(stem, 0) + 1
            name = f"{stem}_{self._next[stem]}"
        self._taken.add(name)
        return name
