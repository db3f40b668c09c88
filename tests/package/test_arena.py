from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tilewright.compiler.package.arena import Lifetime, lower_bound, place

_LIFETIMES = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 12), st.integers(0, 6)).map(
        lambda each: Lifetime(each[0], each[1], each[1] + each[2])
    ),
    max_size=25,
)


@given(_LIFETIMES)
def test_values_that_live_together_never_overlap(values: list[Lifetime]) -> None:
    offsets, size = place(values)
    for i, (a, at) in enumerate(zip(values, offsets, strict=True)):
        assert at % 64 == 0
        assert at + a.size <= size
        for b, bt in list(zip(values, offsets, strict=True))[:i]:
            apart = a.last < b.first or b.last < a.first
            assert apart or at + a.size <= bt or bt + b.size <= at


@given(_LIFETIMES)
def test_no_arena_is_below_the_lower_bound_or_above_the_sum(values: list[Lifetime]) -> None:
    _, size = place(values)
    assert lower_bound(values) <= size <= sum(-(-each.size // 64) * 64 for each in values)


def test_a_chain_with_residuals_reaches_the_lower_bound() -> None:
    chain = [Lifetime(3000, step, step + 1) for step in range(20)]
    residuals = [Lifetime(1000, step, step + 4) for step in range(0, 20, 5)]
    values = chain + residuals
    _, size = place(values)
    assert size == lower_bound(values) == 2 * 3008 + 1024


def test_the_best_order_is_taken() -> None:
    # Largest first leaves a hole here; in the order of the steps there is none.
    values = [Lifetime(64, 0, 1), Lifetime(128, 1, 2), Lifetime(64, 2, 3), Lifetime(192, 3, 4)]
    _, size = place(values)
    assert size == lower_bound(values) == 256


def test_the_result_does_not_depend_on_the_order_of_equal_calls() -> None:
    values = [Lifetime(256, step % 4, step % 4 + 1) for step in range(12)]
    assert place(values) == place(list(values))


def test_nothing_to_place() -> None:
    assert place([]) == ([], 0)
    assert lower_bound([]) == 0
