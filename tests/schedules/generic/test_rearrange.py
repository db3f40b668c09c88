"""Joined, cut, padded, repeated and mirrored tensors against numpy."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import Array, run_workload
from workloads import ADD, blocked, random_array, tensor

from tilewright.layout import Layout
from tilewright.rearrangement import FILLED, Rearrangement, runs_of, whole
from tilewright.schedules.template import build_kernel
from tilewright.targets.host import host_target
from tilewright.workload import PointwiseProgram, Workload, attributes


def check(
    shapes: Sequence[tuple[int, ...]],
    places: dict[int, Array],
    axis: int = 0,
    layout: Layout | None = None,
    epilogue: PointwiseProgram | None = None,
    dtype: str = "float32",
) -> None:
    """Compare the kernel with numpy's ``take`` of the joined operands."""
    target = host_target()
    sizes = [sum(each[at] for each in shapes) if at == axis else size for at, size in enumerate(shapes[0])]
    runs = tuple(runs_of(places[at], size) if at in places else whole(size) for at, size in enumerate(sizes))
    out = tuple(sum(run.count for run in each) for each in runs)
    moves = Rearrangement(axis, runs, 2.0)
    operands = [tensor(*shape, layout=layout, dtype=dtype) for shape in shapes]
    extra = [tensor(*out, layout=layout)] if epilogue else []
    work = Workload("rearrange", (*operands, *extra), (tensor(*out, layout=layout, dtype=dtype),),
                    attributes(moves.attributes()), len(operands), epilogue)  # fmt: skip
    assert Workload.from_json(work.to_json()) == work
    arrays = [random_array(each, seed) for seed, each in enumerate(work.inputs)]
    expected = np.concatenate(arrays[: len(operands)], axis)
    for at, along in places.items():
        expected = np.take(expected, along, at)
        hole = np.expand_dims(along == FILLED, tuple(range(1, len(sizes) - at)))
        expected = np.where(hole, np.asarray(2.0, dtype), expected)
    kernel = build_kernel(work, target)
    assert kernel is not None
    assert str(kernel.attrs["tilewright.template"]) == "rearrange"
    (result,) = run_workload(kernel, work, arrays, target)
    np.testing.assert_array_equal(result, expected + arrays[-1] if epilogue else expected)


@st.composite
def along(draw: st.DrawFn, size: int, fills: bool = True) -> Array:
    """The places of one of the operators that arrive as rearrangements."""
    ruler = np.arange(size)
    first = draw(st.integers(0, size - 1))
    step = draw(st.integers(1, 3))
    count = draw(st.integers(1, 3 * size))
    kinds = [
        ruler,
        ruler[first::step],
        ruler[::-1],
        np.repeat(ruler, step),
        np.tile(ruler, step),
        np.arange(count) * size // count,
        np.clip((np.arange(2 * size) - 1) // 2, 0, size - 1),
        np.pad(ruler, (first % 5, step), "edge"),
    ]
    if fills:
        kinds.append(np.pad(ruler, (first % 5, step), constant_values=FILLED))
    return draw(st.sampled_from(kinds))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 9), st.integers(1, 40)))
def test_rows(data: st.DataObject, shape: tuple[int, int, int, int]) -> None:
    axes = data.draw(st.sets(st.integers(0, 3), max_size=3))
    dtype = data.draw(st.sampled_from(["float32", "float64", "int64", "int8"]))
    epilogue = ADD if dtype == "float32" and data.draw(st.booleans()) else None
    check([shape], {axis: data.draw(along(shape[axis])) for axis in sorted(axes)}, epilogue=epilogue, dtype=dtype)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.tuples(st.integers(1, 3), st.integers(1, 80), st.integers(1, 9), st.integers(1, 9)))
def test_blocks(data: st.DataObject, shape: tuple[int, int, int, int]) -> None:
    axes = data.draw(st.sets(st.integers(0, 3), max_size=3))
    places = {axis: data.draw(along(shape[axis], fills=axis != 1)) for axis in sorted(axes)}
    epilogue = ADD if data.draw(st.booleans()) else None
    check([shape], places, layout=blocked(host_target()), epilogue=epilogue)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 3), st.lists(st.integers(1, 70), min_size=2, max_size=4), st.booleans())
def test_joined(data: st.DataObject, axis: int, sizes: list[int], blocks: bool) -> None:
    shapes = [tuple(size if at == axis else 2 + at for at in range(4)) for size in sizes]
    places = {axis: data.draw(along(sum(sizes), fills=not blocks))} if data.draw(st.booleans()) else {}
    layout = blocked(host_target()) if blocks and axis == 1 else None
    check(shapes, places, axis, layout, ADD if data.draw(st.booleans()) else None)


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_shuffled_channels(groups: int) -> None:
    order = np.arange(48 * groups).reshape(groups, 48).T.reshape(-1)
    check([(1, 48 * groups, 5, 4)], {1: order}, layout=blocked(host_target()))


def test_large_tensors_are_shared_among_threads() -> None:
    check([(1, 64, 40, 40), (1, 32, 40, 40)], {}, 1, blocked(host_target()))
    check([(3, 50, 700), (3, 7, 700)], {}, 1)
    check([(100000,), (3,)], {}, 0)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 50))
def test_runs_describe_places(data: st.DataObject, size: int) -> None:
    places = data.draw(along(size)) if data.draw(st.booleans()) else np.array(
        data.draw(st.lists(st.integers(-1, size - 1), min_size=1, max_size=30))
    )  # fmt: skip
    runs = runs_of(places, size)
    np.testing.assert_array_equal(np.concatenate([run.places() for run in runs]), places)
    assert all(0 <= run.shift < run.every for run in runs)
    inner = Rearrangement(0, (runs,), 1.0)
    again = data.draw(along(len(places)))
    outer = Rearrangement(0, (runs_of(again, len(places)),), 1.0)
    both = outer.after(inner, [size])
    assert both is not None
    np.testing.assert_array_equal(both.places(0), np.where(again == FILLED, FILLED, places[again]))
