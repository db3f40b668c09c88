"""Shapes of run-time dimensions: their largest, what they broadcast to, the symbols in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .atoms import Symbol, plain
from .dims import Dim, operation, upper


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
