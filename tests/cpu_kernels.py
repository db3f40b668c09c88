"""What tests of x86 templates share: machines to draw, and one named template at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tilewright.knobs import Knobs
from tilewright.schedules.template import Template, candidates
from tilewright.targets.database import load_target
from tilewright.targets.host import read_machine
from tilewright.targets.target import Target
from tilewright.workload import Workload

Shape = tuple[int, ...]

#: The levels that this machine runs, each with vectors of another width.
LEVELS = tuple(
    target
    for target in map(load_target, ("x86-64", "x86-64-v3", "x86-64-v4"))
    if target.features <= read_machine().flags
)


@st.composite
def machines(draw: Any) -> Target:
    """Draw a level with so many cores and so small a second-level cache that small kernels are cut in chunks."""
    target = draw(st.sampled_from(LEVELS))
    facts = replace(
        target.facts, cores=draw(st.sampled_from((1, 2, 16))), l2_bytes=draw(st.sampled_from((1 << 10, 1 << 20)))
    )
    return replace(target, facts=facts)


def template_named(name: str, work: Workload, target: Target) -> Template:
    """Return the template of this name among those that fit."""
    (found,) = [each for each in candidates(work, target) if each.name == name]
    return found


def build(draw: Any, template: Template, work: Workload, target: Target) -> Any:
    """Build a kernel with its default knobs or with any others from the space that the template declares."""
    asked = Knobs()
    kernel = template.build(work, target, asked)
    if draw(st.booleans()):
        return kernel
    drawn = {name: draw(st.sampled_from(values), label=name) for name, values in asked.space.items()}
    return template.build(work, target, Knobs(drawn))


def stored(logical: Shape, axes: Shape) -> Shape:
    """Return the shape of a tensor whose transpose by ``axes`` has the logical shape."""
    shape = [0] * len(axes)
    for size, axis in zip(logical, axes, strict=True):
        shape[axis] = size
    return tuple(shape)


def orders(rank: int) -> st.SearchStrategy[Shape]:
    """Draw an order of axes, half of the time the natural one."""
    natural = tuple(range(rank))
    return st.one_of(st.just(natural), st.permutations(natural).map(tuple))
