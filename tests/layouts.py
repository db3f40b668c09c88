"""Random layouts with shapes, for hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tilewright.layout import Layout


@st.composite
def layouts_and_shapes(draw: Any, largest: int = 9) -> tuple[Layout, tuple[int, ...]]:
    """Draw a layout of up to four axes, any of them blocked, its dimensions in any order, and a logical shape."""
    axes = "NCHW"[: draw(st.integers(1, 4))]
    blocked = draw(st.sets(st.sampled_from(axes)))
    tokens = [*axes, *(f"{draw(st.integers(2, 5))}{axis.lower()}" for axis in sorted(blocked))]
    shape = tuple(draw(st.integers(1, largest)) for _ in axes)
    return Layout(axes, "".join(draw(st.permutations(tokens)))), shape
