"""Rows that move elements, against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import check_node, normal, operator_names

from tilewright.errors import UserError


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize("shape", [(6, 4), (-1, 2), (0, -1), (2, 0, 1, -1), (24,)])
def test_reshape(shape: tuple[int, ...]) -> None:
    check_node("Reshape", {"x": normal(2, 3, 4)}, {"shape": _ints(*shape)})


def test_reshape_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match=r"Reshape 'y0': its operands do not fit it"):
        check_node("Reshape", {"x": normal(2, 3)}, {"shape": _ints(4, -1)})


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
def test_flatten(axis: int) -> None:
    assert set(operator_names(check_node("Flatten", {"x": normal(2, 3, 4)}, axis=axis))) <= {"reshape"}


def test_transpose() -> None:
    check_node("Transpose", {"x": normal(2, 3, 4)})
    check_node("Transpose", {"x": normal(2, 3, 4)}, perm=[1, 2, 0])
    assert operator_names(check_node("Transpose", {"x": normal(2, 3)}, perm=[0, 1])) == []


def test_squeeze_and_unsqueeze_are_reshapes() -> None:
    data = normal(1, 3, 1, 4)
    for imported in (
        check_node("Squeeze", {"x": data}, {"axes": _ints(0, -2)}),
        check_node("Squeeze", {"x": data}),
        check_node("Squeeze", {"x": data}, opset=11, axes=[2]),
        check_node("Unsqueeze", {"x": data}, {"axes": _ints(0, -1)}),
        check_node("Unsqueeze", {"x": data}, opset=11, axes=[1, 3]),
    ):
        assert operator_names(imported) == ["reshape"]


@settings(max_examples=20, deadline=None)
@given(
    st.integers(-8, 8), st.integers(-9, 9), st.sampled_from([1, 2, 3, -1, -2]), st.sampled_from([0, 1, -1])
)  # fmt: skip
def test_slice_is_clamped_to_the_axis(start: int, end: int, step: int, axis: int) -> None:
    data = normal(6, 5)
    check_node("Slice", {"x": data}, {"s": _ints(start), "e": _ints(end), "a": _ints(axis), "t": _ints(step)})


def test_slice_of_several_axes_and_before_opset_10() -> None:
    data = normal(6, 5, 4)
    check_node("Slice", {"x": data}, {"s": _ints(1, -3), "e": _ints(2**62, 5)})
    check_node("Slice", {"x": data}, {"s": _ints(5, 0), "e": _ints(-99, 4), "a": _ints(0, 2), "t": _ints(-2, 3)})
    check_node("Slice", {"x": data}, opset=9, starts=[1, 0], ends=[-1, 2], axes=[0, 2])


def test_concat_and_split() -> None:
    check_node("Concat", {"a": normal(2, 3), "b": normal(2, 4)}, axis=-1)
    check_node("Concat", {"a": normal(2, 3)}, {"b": normal(1, 3)}, axis=0)
    check_node("Split", {"x": normal(2, 6)}, {"sizes": _ints(1, 2, 3)}, outputs=3, axis=1)
    check_node("Split", {"x": normal(2, 6)}, opset=11, outputs=2, axis=-1)
    check_node("Split", {"x": normal(7, 2)}, opset=18, outputs=3, num_outputs=3)


def test_expand_and_tile() -> None:
    check_node("Expand", {"x": normal(3, 1)}, {"shape": _ints(2, 1, 4)})
    assert operator_names(check_node("Expand", {"x": normal(3, 2)}, {"shape": _ints(1, 2)})) == []
    check_node("Tile", {"x": normal(2, 3)}, {"repeats": _ints(2, 3)})


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_pad(mode: str) -> None:
    check_node("Pad", {"x": normal(4, 5)}, {"pads": _ints(1, 2, 0, 3)}, mode=mode)


def test_pad_with_a_value_some_axes_or_negative_widths() -> None:
    value = np.array(7.5, "float32")
    check_node("Pad", {"x": normal(4, 5)}, {"pads": _ints(1, 0, 2, 0), "v": value})
    check_node("Pad", {"x": normal(4, 5)}, {"pads": _ints(2, 1), "v": value, "axes": _ints(-1)}, opset=18)
    check_node("Pad", {"x": normal(4, 5)}, {"pads": _ints(-1, 2, 0, -2), "v": value})
    check_node("Pad", {"x": np.arange(6, dtype="int64")}, {"pads": _ints(1, 1), "v": np.array(-3, "int64")})
    check_node("Pad", {"x": normal(4, 5)}, opset=10, pads=[0, 1, 2, 0], value=0.5)


def test_depth_and_space() -> None:
    for mode in ("DCR", "CRD"):
        check_node("DepthToSpace", {"x": normal(1, 8, 2, 3)}, blocksize=2, mode=mode)
    check_node("SpaceToDepth", {"x": normal(1, 2, 4, 6)}, blocksize=2)


def test_triangles() -> None:
    for upper, diagonal in ((1, 0), (0, 1), (1, -2)):
        check_node("Trilu", {"x": normal(2, 4, 5)}, {"k": np.array(diagonal, np.int64)}, upper=upper)
