"""Rows that pick and place elements, against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import check_node, normal

from tilewright.errors import UserError


def _ints(values: object) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("constant", [True, False])
def test_gather_with_negative_indices(axis: int, constant: bool) -> None:
    data, indices = normal(3, 4, 5), _ints([[0, -1], [2, 1]])
    if constant:
        check_node("Gather", {"x": data}, {"i": indices}, axis=axis)
        check_node("Gather", {"x": data}, {"i": _ints(-2)}, axis=axis)
    else:
        check_node("Gather", {"x": data, "i": indices}, axis=axis)
        check_node("Gather", {"i": indices}, {"x": data}, order=["x", "i"], axis=axis)


def test_constant_indices_outside_are_refused() -> None:
    with pytest.raises(UserError, match="node Gather 'y0': its indices lie outside the sizes 3"):
        check_node("Gather", {"x": normal(3, 4)}, {"i": _ints([3])})


@pytest.mark.parametrize("constant", [True, False])
def test_gather_elements_and_nd(constant: bool) -> None:
    for op_type, indices, attributes in (
        ("GatherElements", [[0, -1, 2], [1, 0, 0]], {"axis": 1}),
        ("GatherElements", [[0, -1], [2, 1]], {"axis": 0}),
        ("GatherND", [[0, -1], [2, 1]], {}),
        ("GatherND", [[-1], [2], [0]], {"batch_dims": 1}),
    ):
        place = {"i": _ints(indices)}
        inputs = {"x": normal(3, 4)} if constant else {"x": normal(3, 4), **place}
        check_node(op_type, inputs, place if constant else None, **attributes)


def test_scatter_elements() -> None:
    inputs = {"x": normal(3, 4), "i": _ints([[0, -1], [2, 1]]), "u": normal(2, 2, seed=1)}
    for axis in (0, 1):
        check_node("ScatterElements", inputs, axis=axis)
    for reduction in ("add", "mul"):
        check_node("ScatterElements", inputs, axis=1, reduction=reduction)


def test_scatter_nd() -> None:
    check_node("ScatterND", {"x": normal(4, 3), "i": _ints([[0], [-1]]), "u": normal(2, 3, seed=1)})
    check_node("ScatterND", {"x": normal(4, 3), "i": _ints([[0, 1], [3, -1]]), "u": normal(2, seed=1)}, reduction="add")


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis: int) -> None:
    constants = {"depth": _ints(4), "values": np.array([0.5, 3.0], "float32")}
    check_node("OneHot", {"i": _ints([[0, 3], [-1, 9]])}, constants, axis=axis)


@pytest.mark.parametrize("largest", [0, 1])
def test_top_k(largest: int) -> None:
    check_node("TopK", {"x": normal(3, 7)}, {"k": _ints([3])}, outputs=2, axis=1, largest=largest)
    check_node("TopK", {"x": normal(3, 7)}, {"k": _ints([2])}, outputs=2, axis=0, largest=largest)


def test_reverse_sequence_and_compress() -> None:
    check_node("ReverseSequence", {"x": normal(4, 3), "n": _ints([1, 4, 2])}, time_axis=0, batch_axis=1)
    check_node("ReverseSequence", {"x": normal(3, 4), "n": _ints([1, 4, 2])}, time_axis=1, batch_axis=0)
    check_node("Compress", {"x": normal(3, 4)}, {"c": np.array([True, False, True])}, axis=0)
    check_node("Compress", {"x": normal(3, 4)}, {"c": np.array([False, True, True])})
