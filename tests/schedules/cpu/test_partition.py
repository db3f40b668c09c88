"""How work over rows and channels is dealt to threads."""

from hypothesis import given
from hypothesis import strategies as st

from tilewright.schedules.cpu.partition import Grid, busiest, parts_of_rows, sizes

COUNTS = st.integers(1, 9)


@given(st.integers(1, 300), st.integers(1, 300))
def test_parts_are_nearly_equal(rows, parts):
    found = sizes(rows, min(rows, parts))
    assert sum(found) == rows
    assert max(found) - min(found) <= 1
    assert min(found) >= 1


def test_the_busiest_core():
    assert busiest([1] * 8, 2) == 1.0
    assert busiest([1] * 9, 2) == 5 * 2 / 9
    assert busiest([3, 1, 1, 1], 2) == 4 * 2 / 6
    assert busiest([2, 2], 16) == 8.0


@given(st.integers(1, 64), COUNTS, COUNTS, st.integers(1, 16), st.integers(1, 70))
def test_no_cut_between_is_clearly_better(rows, outer, inner, cores, least):
    parts = parts_of_rows(rows, outer, inner, cores, least)
    assert min(rows, least) <= parts <= rows

    def load(parts):
        return busiest([size for size in sizes(rows, parts) for _ in range(inner)] * outer, cores)

    assert load(parts) <= load(min(rows, least))
    assert parts == min(rows, least) or load(parts) < load(parts - 1)


def test_seven_rows_and_five_tiles_on_two_cores_are_cut_so_that_both_have_as_much():
    assert Grid.of((1, 1, 5, 7), 2, rows_outside=False, least_parts=1).parts == 2
    assert Grid.of((1, 1, 4, 7), 2, rows_outside=False, least_parts=1).parts == 1
    assert Grid.of((1, 1, 3, 28), 2, rows_outside=True, least_parts=1).parts == 2


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.booleans())
def test_every_place_has_one_task(images, groups, tiles, parts, rows_outside):
    grid = Grid(images, groups, tiles, parts, rows_outside)
    places = [grid.place(task) for task in range(grid.tasks)]
    assert len(set(places)) == len(places) == images * groups * tiles * parts
    assert all(
        0 <= at < size for place in places for at, size in zip(place, (images, groups, tiles, parts), strict=True)
    )


def test_consecutive_tasks_share_what_is_outside():
    assert [Grid(1, 1, 3, 2, True).place(task)[2:] for task in range(4)] == [(0, 0), (1, 0), (2, 0), (0, 1)]
    assert [Grid(1, 1, 3, 2, False).place(task)[2:] for task in range(4)] == [(0, 0), (0, 1), (1, 0), (1, 1)]
