"""Dimensions known only at run time: their algebra agrees with integers wherever it decides."""

from __future__ import annotations

import math
import operator as python

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.atoms import Undecided, plain
from tilewright.dim_text import parse
from tilewright.dims import Dim, bounds, operation, symbol
from tilewright.shapes import broadcast_shape, substitute, symbols_of

N, M = symbol("n", 1, 32), symbol("m", 0, 7)


def dims() -> st.SearchStrategy[int]:
    leaves = st.one_of(st.integers(-9, 40), st.sampled_from([N, M]))
    kinds = st.sampled_from(["+", "-", "*", "min", "max"])
    joined = st.recursive(leaves, lambda inner: st.builds(operation, kinds, inner, inner), max_leaves=6)
    return st.one_of(joined, st.builds(lambda dim, by: dim // by + dim % by, joined, st.integers(1, 20)))


@settings(max_examples=300, deadline=None)
@given(one=dims(), other=dims(), n=st.integers(1, 32), m=st.integers(0, 7), by=st.integers(1, 20))
def test_arithmetic_is_that_of_integers(one: int, other: int, n: int, m: int, by: int) -> None:
    values = {"n": n, "m": m}
    a, b = substitute(one, values), substitute(other, values)
    assert not isinstance(a, Dim)
    assert not isinstance(b, Dim)
    for function in (python.add, python.sub, python.mul):
        assert substitute(function(one, other), values) == function(a, b)
    assert substitute(one // by, values) == a // by
    assert substitute(one % by, values) == a % by
    low, high = bounds(one)
    assert low <= a <= high
    assert parse(str(one)) == one


@settings(max_examples=300, deadline=None)
@given(one=dims(), other=dims(), n=st.integers(1, 32), m=st.integers(0, 7))
def test_a_comparison_is_right_or_undecided(one: int, other: int, n: int, m: int) -> None:
    values = {"n": n, "m": m}
    for function in (python.lt, python.le, python.gt, python.ge):
        try:
            decided = function(one, other)
        except Undecided:
            continue
        assert decided == function(substitute(one, values), substitute(other, values))


@settings(max_examples=200, deadline=None)
@given(extra=dims(), n=st.integers(1, 32), m=st.integers(0, 7), factor=st.integers(1, 9))
def test_division_by_a_factor_is_exact(extra: int, n: int, m: int, factor: int) -> None:
    product = extra * N * factor
    assert product // (N * factor) == extra
    assert product % (N * factor) == 0


def test_what_always_holds_is_known() -> None:
    assert (768 * N * M) % 16 == 0
    assert (N * M * 768) // (12 * 64) == N * M
    assert all((N <= 32, N > 0, M >= 0, N // 2 <= N))
    assert math.prod((2, N, 3)) == 6 * N
    assert (N + 1) - N == 1
    assert N != M
    assert {N: 1}[symbol("n", 1, 32)] == 1
    assert symbol("k", 4, 4) == 4
    assert 0 not in (N, M)
    assert broadcast_shape((1, N), (M, 1)) == (M, N)
    with pytest.raises(ValueError, match="a dimension of n meets one of m"):
        broadcast_shape((N,), (M,))


@pytest.mark.parametrize(
    "ask", [lambda: int(N), lambda: range(N), lambda: N < 7, lambda: bool(M), lambda: N / 2, lambda: [0][M]]
)
def test_what_needs_the_number_is_refused(ask: object) -> None:
    with pytest.raises(Undecided, match="known only at run time"):
        ask()  # type: ignore[operator]


def test_text() -> None:
    assert str(N * 2 + 1) == "2*n[1:32] + 1"
    assert plain((N + 1) // 4 * M) == "((n + 1) // 4)*m"
    assert plain(N - 1) == "n - 1"
    assert [each.name for each in symbols_of((N // 2, 3, M))] == ["m", "n"]
    for text in ("import os", "n", "n[1]", "2 **", "__import__('os')"):
        with pytest.raises((ValueError, AttributeError)):
            parse(text)
