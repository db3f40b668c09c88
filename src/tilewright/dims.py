"""Dimensions known only at run time: polynomials over symbols with bounds, which stand where code expects integers.

A :class:`Dim` adds, multiplies and divides like an integer and answers a comparison whenever its bounds decide it. What
only a number can answer (``int(dim)``, ``range(dim)``, ``if dim < 7`` in the middle of its bounds) raises
:class:`Undecided`, and whoever asked declines: a rewrite is left out, a template passes on, an importer's row refuses.
Equality is of the polynomials: what is not always equal is different. So no code needs to know of symbols in order to
be right with them. PyTorch's SymInt is the same idea; bounds take the place of its guards.

The text of a dimension holds all of it, bounds included: ``batch[1:32]*seq[1:128] + 1``.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    _Int = int  # a Dim stands where integers do; what it cannot do it refuses at run time
else:
    _Int = object


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

    @cached_property
    def text(self) -> str:
        """The operation as it stands in a dimension's text."""
        if self.kind in ("min", "max"):
            return f"{self.kind}({self.left}, {self.right})"
        return f"(({self.left}) {self.kind} ({self.right}))"

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest value; divisors are positive."""
        (low, high), (least, greatest) = bounds(self.left), bounds(self.right)
        if self.kind == "//":
            ends = [end // max(divisor, 1) for end in (low, high) for divisor in (least, greatest)]
            return min(ends), max(ends)
        if self.kind == "%":
            return 0, min(high, greatest - 1) if low >= 0 else greatest - 1
        pick = min if self.kind == "min" else max
        return pick(low, least), pick(high, greatest)


Atom = Symbol | Operation
Monomial = tuple[Atom, ...]
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
            self._text = " + ".join(_term_text(*term) for term in self.terms)
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
        return _sum(self, other) if isinstance(other, _NUMBER) else as_expression(self) + other

    def __radd__(self, other: Any) -> Any:
        return _sum(self, other) if isinstance(other, _INTEGER) else other + as_expression(self)

    def __sub__(self, other: Any) -> Any:
        return _sum(self, _scaled(other, -1)) if isinstance(other, _NUMBER) else as_expression(self) - other

    def __rsub__(self, other: Any) -> Any:
        return _sum(other, _scaled(self, -1)) if isinstance(other, _INTEGER) else other - as_expression(self)

    def __mul__(self, other: Any) -> Any:
        return _product(self, other) if isinstance(other, _NUMBER) else as_expression(self) * other

    def __rmul__(self, other: Any) -> Any:
        return _product(self, other) if isinstance(other, _INTEGER) else other * as_expression(self)

    def __floordiv__(self, other: Any) -> Any:
        return _quotient(self, other) if isinstance(other, _NUMBER) else as_expression(self) // other

    def __rfloordiv__(self, other: Any) -> Any:
        return _quotient(other, self) if isinstance(other, _INTEGER) else other // as_expression(self)

    def __mod__(self, other: Any) -> Any:
        return _remainder(self, other) if isinstance(other, _NUMBER) else as_expression(self) % other

    def __rmod__(self, other: Any) -> Any:
        return _remainder(other, self) if isinstance(other, _INTEGER) else other % as_expression(self)

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
        return parse, (str(self),)

    def __tvm_ffi_object__(self) -> Any:
        """TVM takes a dimension as its expression wherever it takes objects."""
        return as_expression(self)


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
        least += coefficient * (low if coefficient > 0 else high)
        greatest += coefficient * (high if coefficient > 0 else low)
    return least, greatest


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


def upper_shape(shape: Iterable[int]) -> tuple[int, ...]:
    """Return the largest shape."""
    return tuple(map(upper, shape))


def is_static(shape: Iterable[int]) -> bool:
    """Return whether all dimensions are known now."""
    return not any(isinstance(dim, Dim) for dim in shape)


def broadcast_shape(*shapes: Sequence[int]) -> tuple[int, ...]:
    """Return the shape that shapes broadcast to by numpy's rules. Raises ValueError for sizes that can differ."""
    rank = max(map(len, shapes))
    result = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            if size != 1 and result[axis] not in (1, size):
                raise ValueError(f"a dimension of {plain(result[axis])} meets one of {plain(size)}")
            result[axis] = size if size != 1 else result[axis]
    return tuple(result)


def symbols_of(dims: Iterable[int]) -> tuple[Symbol, ...]:
    """Return the symbols that dimensions depend on, each once, by name."""
    found: set[Symbol] = set()
    for dim in dims:
        for monomial, _ in dim.terms if isinstance(dim, Dim) else ():
            for atom in monomial:
                found.update((atom,) if isinstance(atom, Symbol) else symbols_of((atom.left, atom.right)))
    return tuple(sorted(found, key=lambda each: (each.name, each.low, each.high)))


def substitute(dim: int, values: Mapping[str, int]) -> int:
    """Return a dimension with some symbols, by name, replaced by numbers or other dimensions."""
    if not isinstance(dim, Dim):
        return dim
    total = 0
    for monomial, coefficient in dim.terms:
        factor = coefficient
        for atom in monomial:
            if isinstance(atom, Symbol):
                factor = factor * values.get(atom.name, Dim((((atom,), 1),)))
            else:
                factor = factor * operation(atom.kind, substitute(atom.left, values), substitute(atom.right, values))
        total = total + factor
    return total


def operation(kind: str, left: int, right: int) -> int:
    """Return ``+``, ``-``, ``*``, ``//``, ``%``, ``min`` or ``max`` of two dimensions."""
    try:
        return _OPERATIONS[kind](left, right)
    except Undecided:  # min and max compare
        return _atom(kind, left, right)


def plain(dim: object) -> str:
    """Return a dimension as people write it, without the bounds: ``past + 1``."""
    if not isinstance(dim, Dim):
        return str(dim)
    return " + ".join(_term_text(*term, show=_plain_atom) for term in dim.terms).replace("+ -", "- ")


def as_expression(dim: int) -> Any:
    """Return a dimension as a TIR expression over one variable per symbol, named as the symbol's text."""
    from .tvm_names import dim_expression

    return dim_expression(dim)


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


def _term_text(monomial: Monomial, coefficient: int, show: Callable[[Atom], str] = lambda atom: atom.text) -> str:
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
