"""The registry."""

import pytest

from tilewright.errors import UserError
from tilewright.registry import Registry, nearest


def test_rows_are_found_by_name():
    colours: Registry[int] = Registry("colour")
    colours.add("red", 1)

    @colours.register("green", "lime")
    class Green:
        pass

    assert colours["red"] == 1
    assert colours["green"] is colours["lime"] is Green
    assert colours.get("blue") is None
    assert "red" in colours
    assert "blue" not in colours
    assert list(colours) == ["red", "green", "lime"]
    assert colours.names() == ["green", "lime", "red"]


def test_a_name_is_taken_once():
    colours: Registry[int] = Registry("colour")
    colours.add("red", 1)
    with pytest.raises(ValueError, match="colour 'red' is registered twice"):
        colours.add("red", 2)
    assert colours["red"] == 1


def test_an_unknown_name_offers_its_neighbours():
    colours: Registry[int] = Registry("colour")
    colours.add("green", 1)
    colours.add("greenish", 2)
    with pytest.raises(UserError) as caught:
        colours["gren"]
    assert str(caught.value) == "unknown colour 'gren' (did you mean 'green', 'greenish'?)"
    with pytest.raises(UserError, match="^unknown colour 'xyz': it is one of green, greenish$"):
        colours["xyz"]


def test_nearest_of_nothing():
    assert nearest("a", []) == ""
