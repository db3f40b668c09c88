"""Several plans of one model in one library: the general one and those made for fixed sizes.

A variant is the whole model compiled again with some symbols fixed. Constants that are equal stand in the blob once,
equal kernels are compiled once, and the arena is the largest of all. A run takes the first variant whose sizes are its
own, else the general plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .calls import WEIGHT, Calls, Value, Weight
from .plan import Plan, Run

if TYPE_CHECKING:
    from tvm.ir import IRModule

#: Symbols with the values they are fixed to, by name.
Fixed = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Variant:
    """A scheduled module for some fixed sizes."""

    fixed: Fixed
    module: IRModule


def share_weights(found: Sequence[Calls]) -> None:
    """Number the constants of several plans as one list without duplicates, which all of them hold afterwards."""
    joint: dict[str, int] = {}
    weights: list[Weight] = []
    for calls in found:
        renamed: dict[Value, Value] = {}
        for index, weight in enumerate(calls.weights):
            if weight.sha256 not in joint:
                joint[weight.sha256] = len(weights)
                weights.append(weight)
            renamed[Value(WEIGHT, index, weight.size)] = Value(WEIGHT, joint[weight.sha256], weight.size)
        calls.rename(renamed, 0)
        calls.outputs = tuple(renamed.get(each, each) for each in calls.outputs)
    for calls in found:
        calls.weights = list(weights)


def join_plans(general: Plan, variants: Sequence[tuple[Fixed, Plan]]) -> Plan:
    """Return one plan whose steps are those of the general plan, then of each variant; they share their weights."""
    if not variants:
        return general
    steps = list(general.steps)
    runs = []
    for fixed, plan in variants:
        first = len(steps)
        steps += plan.steps
        turns = tuple(replace(turn, before=turn.before + first) for turn in plan.turns)
        runs.append(Run(first, len(steps), turns, fixed))
    plans = [general, *(plan for _, plan in variants)]
    return replace(
        general,
        steps=tuple(steps),
        general_steps=len(general.steps),
        variants=tuple(runs),
        arena_bytes=max(each.arena_bytes for each in plans),
        lower_bound=max(each.lower_bound for each in plans),
    )
