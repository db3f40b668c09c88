"""Vectors of channels mixed from vectors of other channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .rearrangement import FILLED, Places


@dataclass(frozen=True)
class Source:
    """A vector that gives some lanes of a result.

    Attributes:
        operand: which operand.
        block: which block of its channels, for the first step.
        lanes: the second operand of the shuffle for every lane: those below the block keep what the lane has.
        whole: whether it is the result as it stands.
    """

    operand: int
    block: int
    lanes: tuple[int, ...]
    whole: bool


@dataclass(frozen=True)
class Mix:
    """Neighbouring result blocks that are mixed alike: from ``block`` on, their sources a block on each time."""

    block: int
    count: int
    sources: tuple[Source, ...]


def mixes(places: Places, channels: Sequence[int], block: int) -> list[Mix]:
    """Return how the blocks of the result's channels are made.

    Args:
        places: the channel, counted through all operands, of each channel of the result; none is filled.
        channels: of each operand.
        block: how many channels a vector holds.
    """
    assert not (places == FILLED).any()
    ends = np.cumsum(channels)
    operands = np.searchsorted(ends, places, side="right")
    local = places - (ends - np.asarray(channels))[operands]
    found: list[Mix] = []
    for at in range(0, len(places), block):
        mix = Mix(at // block, 1, _sources(operands[at : at + block], local[at : at + block], channels, block))
        if found and _continues(found[-1], mix):
            found[-1] = replace(found[-1], count=found[-1].count + 1)
        else:
            found.append(mix)
    return found


def _sources(operands: Places, local: Places, channels: Sequence[int], block: int) -> tuple[Source, ...]:
    sources = []
    for operand, from_block in dict.fromkeys(zip(operands.tolist(), (local // block).tolist(), strict=True)):
        lanes = list(range(block))
        for lane in range(len(local)):
            if operands[lane] == operand and local[lane] // block == from_block:
                lanes[lane] = block + int(local[lane]) % block
        held = min(block, channels[operand] - from_block * block)
        whole = lanes[: len(local)] == list(range(block, block + len(local))) and held == len(local)
        sources.append(Source(operand, from_block, tuple(lanes), whole))
    return tuple(sources)


def _continues(before: Mix, mix: Mix) -> bool:
    steps = before.count
    moved = tuple(replace(each, block=each.block + steps) for each in before.sources)
    return mix.block == before.block + steps and moved == mix.sources
