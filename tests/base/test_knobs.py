"""Knobs: defaults, overrides, the declared space."""

import pytest

from tilewright.knobs import Knobs


def test_defaults_are_chosen_and_the_space_is_declared():
    knobs = Knobs()
    assert knobs.choice("tile", range(1, 5), default=3) == 3
    assert knobs.choice("vectors", (1, 2), default=2) == 2
    assert knobs.chosen == {"tile": 3, "vectors": 2}
    assert knobs.space == {"tile": (1, 2, 3, 4), "vectors": (1, 2)}


def test_overrides_replace_defaults():
    knobs = Knobs({"tile": 4})
    assert knobs.choice("tile", range(1, 5), default=3) == 4
    assert knobs.choice("vectors", (1, 2), default=2) == 2
    assert knobs.chosen == {"tile": 4, "vectors": 2}


@pytest.mark.parametrize("value", [0, 5, "3", True, 3.0])
def test_an_override_outside_the_space_is_refused(value):
    with pytest.raises(ValueError, match="knob 'tile' cannot be"):
        Knobs({"tile": value}).choice("tile", range(1, 5), default=3)


def test_a_default_outside_the_space_is_a_bug():
    with pytest.raises(ValueError, match=r"knob 'tile' cannot be 9: it is one of \(1, 2\)"):
        Knobs().choice("tile", (1, 2), default=9)
