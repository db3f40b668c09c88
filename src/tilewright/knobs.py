"""Knobs: the declared choices of a schedule template, with a default for each and overrides from a tuning record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Value = int | str | bool


class Knobs:
    """What a template asks, and what it is answered.

    A template names each choice once, by ``choice``; the space it declared stands in ``space`` afterwards and the
    answers in ``chosen``, so that the untuned schedule is the template's defaults and a record is a mapping.

    Args:
        overrides: answers that replace the defaults, as a tuning record holds them.
    """

    def __init__(self, overrides: Mapping[str, Value] | None = None) -> None:
        self._overrides = dict(overrides or {})
        self.space: dict[str, tuple[Value, ...]] = {}
        self.chosen: dict[str, Value] = {}

    def choice(self, name: str, candidates: Sequence[int], default: int) -> int:
        """Return the value of a knob. Raises ValueError when an override lies outside the candidates."""
        value = self._overrides.get(name, default)
        if type(value) is not int or value not in candidates:
            raise ValueError(f"knob '{name}' cannot be {value!r}: it is one of {tuple(candidates)}")
        self.space[name] = tuple(candidates)
        self.chosen[name] = value
        return value
