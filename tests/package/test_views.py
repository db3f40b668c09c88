"""Joins and slices without copies."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import NodeProto, helper
from onnx_models import Array, model_of
from workloads import tensor

import tilewright
from tilewright.compiler.package.views import joins, part
from tilewright.layout import Layout
from tilewright.rearrangement import Rearrangement, runs_of, whole
from tilewright.runtime import load
from tilewright.workload import Workload, attributes

LAYOUTS = st.sampled_from([None, Layout("NCHW", "NCHW4c")])
SHAPES = st.tuples(st.integers(1, 2), st.integers(1, 12), st.integers(1, 3), st.integers(1, 3))


def stored(array: Array, layout: Layout | None) -> Array:
    return (layout.pack(array) if layout else array).reshape(-1)


@given(SHAPES, st.lists(st.integers(1, 12), min_size=2, max_size=3), st.integers(0, 3), LAYOUTS)
def test_a_join_is_one_exactly_when_its_operands_lie_end_to_end(
    shape: tuple[int, ...], sizes: list[int], axis: int, layout: Layout | None
) -> None:
    arrays, first = [], 1
    for size in sizes:
        array = np.arange(np.prod(shape) // shape[axis] * size).reshape([*shape[:axis], size, *shape[axis + 1 :]])
        arrays.append((array + first).astype("float32"))
        first += array.size
    joined = np.concatenate(arrays, axis)
    moves = Rearrangement(axis, tuple(map(whole, joined.shape)))
    inputs = tuple(tensor(*each.shape, layout=layout) for each in arrays)
    work = Workload("rearrange", inputs, (tensor(*joined.shape, layout=layout),), attributes(moves.attributes()), 1)
    end_to_end = np.concatenate([stored(each, layout) for each in arrays])
    found = joins(work)
    assert (found is not None) == np.array_equal(end_to_end, stored(joined, layout))
    if found:
        assert found == tuple(np.cumsum([0, *(4 * stored(each, layout).size for each in arrays)])[:-1])


@given(st.data(), SHAPES, st.integers(0, 3), LAYOUTS)
def test_a_part_lies_where_it_says(
    data: st.DataObject, shape: tuple[int, ...], axis: int, layout: Layout | None
) -> None:
    begin = data.draw(st.integers(0, shape[axis] - 1))
    places = np.arange(begin, data.draw(st.integers(begin + 1, shape[axis])))
    runs = tuple(runs_of(places, size) if at == axis else whole(size) for at, size in enumerate(shape))
    array = (np.arange(np.prod(shape)) + 1).reshape(shape).astype("float32")
    cut = np.take(array, places, axis)
    work = Workload("rearrange", (tensor(*shape, layout=layout),), (tensor(*cut.shape, layout=layout),),
                    attributes(Rearrangement(0, runs).attributes()), 1)  # fmt: skip
    first = part(work)
    if first is not None:
        wanted = stored(cut, layout)
        np.testing.assert_array_equal(stored(array, layout)[first // 4 :][: wanted.size], wanted)
    elif len(places) < shape[axis]:
        outer = np.prod(shape[:axis]) > 1
        assert outer or (layout and axis == 1 and (begin % 4 or places[-1] % 4 != 3))


def _relu(source: str, target: str) -> NodeProto:
    return helper.make_node("Relu", [source], [target])


def _neg(source: str, target: str) -> NodeProto:
    return helper.make_node("Neg", [source], [target])


def _softmax(source: str, target: str) -> NodeProto:
    return helper.make_node("Softmax", [source], [target], axis=1)


def _join(target: str, *sources: str) -> NodeProto:
    return helper.make_node("Concat", list(sources), [target], axis=1)


def _slice(source: str, target: str, begin: str, end: str) -> NodeProto:
    return helper.make_node("Slice", [source, begin, end, "one"], [target])


MODELS: dict[str, tuple[list[NodeProto], list[str], int]] = {
    "operands written in place": ([_relu("x", "a"), _neg("x", "b"), _join("y", "a", "b")], ["y"], 2),
    "joins of joins": (
        [_relu("x", "a"), _neg("a", "b"), _join("c", "a", "b"), _neg("c", "d"), _join("y", "c", "d")], ["y"], 3,
    ),
    "nothing to place": ([_join("y", "x", "x")], ["y"], 1),
    "an operand in two joins, twice in one": (
        [_relu("x", "a"), _neg("a", "b"), _join("c", "a", "b"), _relu("b", "e"), _join("d", "e", "e", "a", "x")],
        ["c", "d"], 6,
    ),
    "operands that are outputs": ([_relu("x", "a"), _join("y", "a", "x")], ["a", "y"], 2),
    "slices": ([_relu("x", "a"), _slice("a", "b", "one", "three"), _softmax("b", "y")], ["y"], 2),
    "slices of inputs that are outputs": ([_slice("x", "y", "one", "three")], ["y"], 1),
    "slices in joins": (
        [_relu("x", "a"), _slice("a", "b", "one", "three"), _slice("x", "c", "one", "three"), _join("d", "b", "c", "a"),
         _softmax("d", "y")],
        ["y"], 4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models_of_joins_and_slices(name: str, tmp_path: Path) -> None:
    nodes, outputs, steps = MODELS[name]
    x = np.random.default_rng(0).standard_normal((1, 4, 5, 3)).astype("float32")
    bounds = {"one": np.array([1]), "three": np.array([3])}
    used = {each for node in nodes for each in node.input}
    model = model_of(nodes, {"x": x}, {key: value for key, value in bounds.items() if key in used}, outputs)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    tilewright.compile(path).save(tmp_path / "model.so")
    library = load(tmp_path / "model.so")
    buffers = [np.full(each.static_shape, np.nan, "float32") for each in library.outputs]
    library(x, out=buffers)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for result, expected in zip(buffers, session.run(None, {"x": x}), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-7)
    assert len(library.steps) == steps, [each.name for each in library.steps]
