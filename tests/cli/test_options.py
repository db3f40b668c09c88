from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.compiler.cli.options import InputShapes, Word, Words, merge_shapes

names = st.text("abcXYZ_./:-019", min_size=1).filter(lambda name: not name.startswith(":") and not name.endswith(":"))
shapes = st.lists(st.integers(1, 2**31 - 1), max_size=5).map(tuple)


@given(st.dictionaries(names, shapes, min_size=1, max_size=4), st.sampled_from([";", " ", " ; ", "; "]))
def test_shapes_are_read_as_they_were_written(wanted: dict[str, tuple[int, ...]], between: str) -> None:
    text = between.join(f"{name}:[{','.join(map(str, dims))}]" for name, dims in wanted.items())
    assert dict(InputShapes().convert(text, None, None)) == wanted


def test_shapes_may_have_spaces_and_come_in_several_options() -> None:
    first = InputShapes().convert(" x : [ 1, 3 ] ", None, None)
    second = InputShapes().convert("ids:[1,128];s:[]", None, None)
    assert merge_shapes((first, second)) == {"x": (1, 3), "ids": (1, 128), "s": ()}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("x", "'x' is not a shape"),
        ("x:1,3", "'x:1,3' is not a shape"),
        ("[1,3]", "is not a shape"),
        ("x:[1,3", "is not a shape"),
        ("x:[1,3];y", "'y' is not a shape"),
        ("x:[1,-1]", "'-1' is not a dimension of 'x'"),
        ("x:[1,0]", "'0' is not a dimension"),
        ("x:[1,?]", "'?' is not a dimension"),
        ("x:[1,]", "'' is not a dimension"),
        ("x:[1,2.5]", "'2.5' is not a dimension"),
        ("x:[4294967296]", "is not a dimension"),
        ("x:[99999999999999999999999]", "is not a dimension"),
        ("x:[\u0661]", "is not a dimension"),
        ("", "no shape is given"),
        ("  ", "no shape is given"),
    ],
)
def test_what_is_no_shape_is_named(text: str, part: str) -> None:
    with pytest.raises(click.BadParameter, match=".*") as error:
        InputShapes().convert(text, None, None)
    assert part in str(error.value)


def test_a_name_with_two_shapes_is_refused() -> None:
    with pytest.raises(click.BadParameter, match="'x' is given two shapes"):
        merge_shapes(((("x", (1,)),), (("x", (2,)),)))


def test_an_unknown_word_offers_its_neighbour_or_all() -> None:
    phase = Word("phase", ("import", "simplify", "fuse"))
    assert phase.convert("fuse", None, None) == "fuse"
    with pytest.raises(click.BadParameter, match=r"there is no phase 'simplfy' \(did you mean 'simplify'\?\)"):
        phase.convert("simplfy", None, None)
    with pytest.raises(click.BadParameter, match="it is one of import, simplify, fuse"):
        phase.convert("zzz", None, None)


def test_words_are_separated_by_commas_and_count_once() -> None:
    runtimes = Words("runtime", ("onnxruntime", "openvino"))
    assert runtimes.convert("openvino, onnxruntime,openvino", None, None) == ("openvino", "onnxruntime")
    with pytest.raises(click.BadParameter, match="there is no runtime 'tvm'"):
        runtimes.convert("openvino,tvm", None, None)
