"""What run-time dimensions are made of: symbols, and the operations on dimensions that are no polynomials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property


class Undecided(Exception):
    """Code asked for the number behind a dimension that is known only at run time."""

    def __init__(self, dim: object) -> None:
        super().__init__(f"the dimension '{plain(dim)}' is known only at run time, and a number is needed here")


@dataclass(frozen=True)
class Symbol:
    """A size that a run decides, with its bounds (both inclusive)."""

    name: str
    low: int
    high: int

    @property
    def text(self) -> str:
        """The symbol as it stands in a dimension's text."""
        return f"{self.name}[{self.low}:{self.high}]"

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest value."""
        return self.low, self.high


@dataclass(frozen=True)
class Operation:
    """What no polynomial expresses: ``//`` (rounding down), ``%``, ``min`` or ``max`` of two dimensions."""

    kind: str
    left: int
    right: int

    @property
    def sides(self) -> tuple[int, int]:
        """Both dimensions."""
        return self.left, self.right

    @cached_property
    def text(self) -> str:
        """The operation as it stands in a dimension's text."""
        if self.kind in ("min", "max"):
            return f"{self.kind}({self.left}, {self.right})"
        return f"(({self.left}) {self.kind} ({self.right}))"

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest value; divisors are positive."""
        from .dims import bounds

        (low, high), (least, greatest) = map(bounds, self.sides)
        if self.kind == "//":
            ends = [end // max(divisor, 1) for end in (low, high) for divisor in (least, greatest)]
            return min(ends), max(ends)
        if self.kind == "%":
            return 0, min(high, greatest - 1) if low >= 0 else greatest - 1
        pick = min if self.kind == "min" else max
        return pick(low, least), pick(high, greatest)


Atom = Symbol | Operation
Monomial = tuple[Atom, ...]


def plain(dim: object) -> str:
    """Return a dimension as people write it, without the bounds: ``past + 1``."""
    terms = getattr(dim, "terms", None)
    if terms is None:
        return str(dim)
    return " + ".join(term_text(monomial, coefficient, _plain_atom) for monomial, coefficient in terms).replace(
        "+ -", "- "
    )


def term_text(monomial: Monomial, coefficient: int, show: Callable[[Atom], str] = lambda atom: atom.text) -> str:
    """Return a term as text, each atom as ``show`` writes it."""
    factors = [show(atom) for atom in monomial]
    if coefficient != 1 or not factors:
        factors = [str(coefficient), *factors]
    return "*".join(factors)


def _plain_atom(atom: Atom) -> str:
    if isinstance(atom, Symbol):
        return atom.name
    left, right = plain(atom.left), plain(atom.right)
    if atom.kind in ("min", "max"):
        return f"{atom.kind}({left}, {right})"
    wrapped = [f"({each})" if " " in each or "*" in each else each for each in (left, right)]
    return f"({wrapped[0]} {atom.kind} {wrapped[1]})"
