"""Dimensions known only at run time: polynomials over symbols with bounds, which stand where code expects integers.

A :class:`Dim` adds, multiplies and divides like an integer and answers a comparison whenever its bounds decide it. What
only a number can answer (``int(dim)``, ``range(dim)``, ``if dim < 7`` in the middle of its bounds) raises
:class:`Undecided`, and whoever asked declines: a rewrite is left out, a template passes on, an importer's row refuses.
Equality is of the polynomials: what is not always equal is different. So no code needs to know of symbols in order to
be right with them. PyTorch's SymInt is the same idea; bounds take the place of its guards.

The text of a dimension holds all of it, bounds included: ``batch[1:32]*seq[1:128] + 1``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .atoms import Monomial, Operation, Symbol, Undecided, term_text

if TYPE_CHECKING:
    _Int = int  # a Dim stands where integers do; what it cannot do it refuses at run time
else:
    _Int = object


_Number = Any  # an integer, numpy's or Python's, or a Dim
_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "min": min,
    "max": max,
}


class Dim(_Int):
    """A polynomial with integer coefficients; made by :func:`symbol`, :func:`parse` and arithmetic.

    Attributes:
        terms: pairs of monomial (atoms in order of their text) and coefficient, in order of the monomials' text.
    """

    __slots__ = ("_hash", "_text", "terms")
    terms: tuple[tuple[Monomial, int], ...]

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self._hash = hash(terms)
        self._text = ""

    def __new__(cls, terms: tuple[tuple[Monomial, int], ...]) -> Dim:
        """Return a new polynomial (an integer's constructor would take a number)."""
        return object.__new__(cls)

    def __str__(self) -> str:
        if not self._text:
            self._text = " + ".join(term_text(*term) for term in self.terms)
        return self._text

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self.terms == other.terms

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __add__(self, other: Any) -> Any:
        return _sum(self, other) if isinstance(other, _NUMBER) else dim_expression(self) + other

    def __radd__(self, other: Any) -> Any:
        return _sum(self, other) if isinstance(other, _INTEGER) else other + dim_expression(self)

    def __sub__(self, other: Any) -> Any:
        return _sum(self, _scaled(other, -1)) if isinstance(other, _NUMBER) else dim_expression(self) - other

    def __rsub__(self, other: Any) -> Any:
        return _sum(other, _scaled(self, -1)) if isinstance(other, _INTEGER) else other - dim_expression(self)

    def __mul__(self, other: Any) -> Any:
        return _product(self, other) if isinstance(other, _NUMBER) else dim_expression(self) * other

    def __rmul__(self, other: Any) -> Any:
        return _product(self, other) if isinstance(other, _INTEGER) else other * dim_expression(self)

    def __floordiv__(self, other: Any) -> Any:
        return _quotient(self, other) if isinstance(other, _NUMBER) else dim_expression(self) // other

    def __rfloordiv__(self, other: Any) -> Any:
        return _quotient(other, self) if isinstance(other, _INTEGER) else other // dim_expression(self)

    def __mod__(self, other: Any) -> Any:
        return _remainder(self, other) if isinstance(other, _NUMBER) else dim_expression(self) % other

    def __rmod__(self, other: Any) -> Any:
        return _remainder(other, self) if isinstance(other, _INTEGER) else other % dim_expression(self)

    def __divmod__(self, other: int) -> tuple[int, int]:
        return self // other, self % other

    def __rdivmod__(self, other: int) -> tuple[int, int]:
        return other // self, other % self

    def __neg__(self) -> int:
        return _scaled(self, -1)

    def __pos__(self) -> int:
        return self

    def __abs__(self) -> int:
        return self if self >= 0 else -self

    def __pow__(self, exponent: Any, modulus: Any = None) -> Any:
        return math.prod([self] * exponent)

    def __lt__(self, other: Any) -> bool:
        return _always(self, other, lambda low, high: high < 0, lambda low, high: low >= 0)

    def __le__(self, other: Any) -> bool:
        return _always(self, other, lambda low, high: high <= 0, lambda low, high: low > 0)

    def __gt__(self, other: Any) -> bool:
        return not self <= other

    def __ge__(self, other: Any) -> bool:
        return not self < other

    def __bool__(self) -> bool:
        low, high = bounds(self)
        if low > 0 or high < 0:
            return True
        raise Undecided(self)

    def __int__(self) -> int:
        raise Undecided(self)

    __index__ = __float__ = __trunc__ = __round__ = __int__  # type: ignore[assignment]

    def __truediv__(self, other: Any) -> Any:
        raise Undecided(self)

    __rtruediv__ = __truediv__

    def __deepcopy__(self, memo: object) -> Dim:
        return self

    def __reduce__(self) -> Any:
        return Dim, (self.terms,)

    def __tvm_ffi_object__(self) -> Any:
        """TVM takes a dimension as its expression wherever it takes objects."""
        return dim_expression(self)


_INTEGER = (int, np.integer)
_NUMBER = (*_INTEGER, Dim)


def symbol(name: str, low: int, high: int) -> int:
    """Return a symbol as a dimension; the number where its bounds leave one."""
    return low if low == high else Dim((((Symbol(name, low, high),), 1),))


def bounds(dim: int) -> tuple[int, int]:
    """Return the least and the greatest value a dimension can have, by interval arithmetic."""
    if not isinstance(dim, Dim):
        return dim, dim
    least, greatest = _interval(dim)
    for side, rounded in enumerate((_without_quotients(dim, False), _without_quotients(dim, True))):
        if rounded is not None:
            scale, ends = rounded[1], _interval(rounded[0])
            least, greatest = (least, min(greatest, ends[1] // scale)) if side else (
                max(least, -(-ends[0] // scale)), greatest
            )  # fmt: skip
    return least, greatest


def _interval(dim: int) -> tuple[int, int]:
    least = greatest = 0
    for monomial, coefficient in _terms(dim).items():
        low = high = 1
        for atom in monomial:
            ends = [one * other for one in (low, high) for other in atom.bounds]
            low, high = min(ends), max(ends)
        most = _undivided(monomial)
        high = high if most is None else min(high, most)
        least += coefficient * (low if coefficient > 0 else high)
        greatest += coefficient * (high if coefficient > 0 else low)
    return least, greatest


def _undivided(monomial: Monomial) -> int | None:
    """Return what bounds a product that multiplies a quotient by its divisor: ``a * (c // a)`` is at the most c."""
    for atom in monomial:
        if not isinstance(atom, Operation) or atom.kind != "//" or not isinstance(atom.right, Dim):
            continue
        (factors, coefficient), *others = atom.right.terms
        rest = list(monomial)
        rest.remove(atom)
        if others or coefficient != 1 or bounds(atom.left)[0] < 0 or any(each.bounds[0] < 1 for each in factors):
            continue
        if all(rest.count(each) >= factors.count(each) for each in factors):
            for each in factors:
                rest.remove(each)
            if all(each.bounds[0] >= 0 for each in rest):
                return upper(atom.left) * math.prod(each.bounds[1] for each in rest)
    return None


def _without_quotients(dim: Dim, above: bool) -> tuple[int, int] | None:
    """Return a polynomial and a scale: the dimension is at the most (or at the least) their quotient.

    ``x // k`` lies between (x - k + 1) / k and x / k, which shows that n // 2 is never above n. None where the
    dimension has no such term.
    """
    quotients = [
        (atom, coefficient)
        for (atom, *others), coefficient in ((term[0] or (None,), term[1]) for term in dim.terms)
        if isinstance(atom, Operation) and atom.kind == "//" and not others and not isinstance(atom.right, Dim)
    ]
    if not quotients:
        return None
    scale = math.lcm(*(atom.right for atom, _ in quotients))
    total = _scaled(dim, scale)
    for atom, coefficient in quotients:
        top = atom.left if (coefficient > 0) == above else atom.left - (atom.right - 1)
        term = _made({(atom,): coefficient * scale})
        total = total - term + top * (coefficient * scale // atom.right)
    return total, scale


def upper(dim: int) -> int:
    """Return the greatest value a dimension can have: what memory is planned for."""
    return bounds(dim)[1]


def operation(kind: str, left: int, right: int) -> int:
    """Return ``+``, ``-``, ``*``, ``//``, ``%``, ``min`` or ``max`` of two dimensions."""
    try:
        return _OPERATIONS[kind](left, right)
    except Undecided:  # min and max compare
        return _atom(kind, left, right)


def dim_expression(dim: int) -> Any:
    """Return a dimension as a TIR expression over one variable per symbol, named as its text. Numbers stay numbers."""
    if not isinstance(dim, Dim):
        return dim
    from tvm import tirx

    total: Any = None
    for monomial, coefficient in dim.terms:
        term: Any = None if monomial and coefficient == 1 else tirx.const(coefficient, "int64")
        for atom in reversed(monomial):
            factor = variable_of(atom.text) if isinstance(atom, Symbol) else _operation_expression(atom)
            term = factor if term is None else factor * term
        total = term if total is None else total + term
    return total


@cache
def variable_of(text: str) -> Any:
    """Return the one variable that stands for a symbol, named as its text."""
    from tvm import tirx

    return tirx.Var(text, "int64")


def _operation_expression(atom: Operation) -> Any:
    from tvm import tirx

    sides = (dim_expression(each) if isinstance(each, Dim) else tirx.const(each, "int64") for each in atom.sides)
    makers = {"//": tirx.floordiv, "%": tirx.floormod, "min": tirx.min, "max": tirx.max}
    return makers[atom.kind](*sides)


def _terms(dim: _Number) -> dict[Monomial, int]:
    if isinstance(dim, Dim):
        return dict(dim.terms)
    return {(): int(dim)} if dim != 0 else {}


def _made(terms: Mapping[Monomial, int]) -> int:
    kept = {monomial: coefficient for monomial, coefficient in terms.items() if coefficient}
    if not kept:
        return 0
    if list(kept) == [()]:
        return int(kept[()])
    # The constant comes last, as people write it.
    order = sorted(kept.items(), key=lambda term: (not term[0], [atom.text for atom in term[0]]))
    return Dim(tuple(order))


def _sum(left: _Number, right: _Number) -> int:
    terms = _terms(left)
    for monomial, coefficient in _terms(right).items():
        terms[monomial] = terms.get(monomial, 0) + coefficient
    return _made(terms)


def _scaled(dim: _Number, factor: int) -> int:
    return _made({monomial: coefficient * factor for monomial, coefficient in _terms(dim).items()})


def _product(left: _Number, right: _Number) -> int:
    terms: dict[Monomial, int] = {}
    for one, first in _terms(left).items():
        for other, second in _terms(right).items():
            monomial = tuple(sorted((*one, *other), key=lambda atom: atom.text))
            terms[monomial] = terms.get(monomial, 0) + first * second
    return _made(terms)


def _atom(kind: str, left: int, right: int) -> int:
    return Dim((((Operation(kind, left, right),), 1),))


def _divided(monomial: Monomial, coefficient: int, by: tuple[Monomial, int]) -> tuple[Monomial, int] | None:
    """Return a term divided by another, None where that leaves a remainder."""
    rest = list(monomial)
    for atom in by[0]:
        if atom not in rest:
            return None
        rest.remove(atom)
    return (tuple(rest), coefficient // by[1]) if coefficient % by[1] == 0 else None


def _divide(left: _Number, right: _Number) -> tuple[int, int]:
    """Return a quotient and a remainder whose terms the divisor's first term does not divide; neither is reduced."""
    leading = next(iter(_terms(right).items()))
    quotient, remainder = 0, 0
    pending = left
    while pending != 0:
        (monomial, coefficient), *_ = _terms(pending).items()
        term = _made({monomial: coefficient})
        part = _divided(monomial, coefficient, leading)
        if part is None:
            if not leading[0] and coefficient >= leading[1] > 0:  # 20 n = 16 n + 4 n
                part = monomial, coefficient // leading[1]
            else:
                remainder, pending = remainder + term, pending - term
                continue
        factor = _made({part[0]: part[1]})
        quotient, pending = quotient + factor, pending - factor * right
        if len(_terms(pending)) > 64:
            return 0, left
    return quotient, remainder


def _quotient(left: _Number, right: _Number) -> int:
    if right == 1 or left == 0:
        return _made(_terms(left))
    quotient, remainder = _divide(left, right)
    if remainder == 0:
        return quotient
    low, high = bounds(remainder)
    if low >= 0 and high < bounds(right)[0]:
        return quotient
    if low < 0:
        return _atom("//", left, right)
    return quotient + _atom("//", remainder, right)


def _remainder(left: _Number, right: _Number) -> int:
    _, remainder = _divide(left, right) if left != 0 else (0, 0)
    low, high = bounds(remainder)
    if low >= 0 and high < bounds(right)[0]:
        return remainder
    return _atom("%", left if low < 0 else remainder, right)


def _always(left: int, right: int, holds: Callable[[int, int], bool], fails: Callable[[int, int], bool]) -> bool:
    difference = left - right
    ends = bounds(difference)
    if holds(*ends):
        return True
    if fails(*ends):
        return False
    raise Undecided(difference)
