"""Layouts: packing and unpacking any shape, and which names are layouts."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import layouts_and_shapes

from tilewright.layout import Layout
from tilewright.workload import TensorType, Workload


@settings(deadline=None, derandomize=True)
@given(layouts_and_shapes())
def test_packing_keeps_every_element_and_pads_with_zeros(drawn):
    layout, shape = drawn
    array = np.arange(1, 1 + int(np.prod(shape)), dtype="float32").reshape(shape)
    packed = layout.pack(array)
    assert packed.shape == layout.stored_shape(shape)
    assert packed.flags.c_contiguous
    assert np.count_nonzero(packed) == array.size
    assert sorted(packed[packed != 0]) == sorted(array.reshape(-1))
    np.testing.assert_array_equal(layout.unpack(packed, shape), array)


@settings(deadline=None, derandomize=True)
@given(st.data(), layouts_and_shapes())
def test_an_element_lies_where_the_name_says(data, drawn):
    """The stored index, read from the name letter by letter."""
    layout, shape = drawn
    array = np.random.default_rng(0).standard_normal(shape)
    at = dict(zip(layout.axes, (data.draw(st.integers(0, size - 1)) for size in shape), strict=True))
    blocks: dict[str, int] = {}
    digits = ""
    for letter in layout.name:
        if letter.isdigit():
            digits += letter
        elif letter.islower():
            blocks[letter.upper()], digits = int(digits), ""
    stored: list[Any] = []
    for letter in layout.name:
        if letter.isupper():
            stored.append(at[letter] // blocks.get(letter, 1))
        elif letter.islower():
            stored.append(at[letter.upper()] % blocks[letter.upper()])
    assert layout.pack(array)[tuple(stored)] == array[tuple(at.values())]


@pytest.mark.parametrize(
    ("axes", "name"),
    [
        ("NCHW", "NCH"),
        ("NCHW", "NCHWW"),
        ("NCHW", "NCHW16x"),
        ("NCHW", "NCHWc"),
        ("NCHW", "NCHW16"),
        ("NCHW", "NCHW16c4c"),
        ("NCHW", "NCHW0c"),
        ("NCHW", "NCHW1c"),
        ("NCHW", "N CHW"),
        ("NN", "NN"),
    ],
)
def test_what_is_no_layout_is_refused(axes, name):
    with pytest.raises(ValueError, match="layout"):
        Layout(axes, name)


def test_known_layouts():
    assert Layout("NCHW", "NCHW16c").stored_shape((2, 17, 5, 6)) == (2, 2, 5, 6, 16)
    assert Layout("OIHW", "OIHW16i16o").stored_shape((33, 17, 3, 3)) == (3, 2, 3, 3, 16, 16)
    assert Layout("KN", "NK8n").stored_shape((5, 20)) == (3, 5, 8)
    assert Layout("NCHW", "NCHW16c").blocks == (1, 16, 1, 1)


@settings(deadline=None, derandomize=True)
@given(layouts_and_shapes())
def test_workloads_keep_layouts_through_json(drawn):
    layout, shape = drawn
    plain = TensorType(shape, "float32")
    work = Workload("layout_transform", (plain,), (plain,), anchor_arity=1).with_layouts((None,), (layout,))
    again = Workload.from_json(work.to_json())
    assert again == work
    assert again.output.stored_shape == layout.stored_shape(shape)
