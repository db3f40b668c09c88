"""Words and values of the options of ``tilewright quantize``, known without importing what serves them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ...errors import UserError

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic for type checkers only in newer releases of click

#: Methods in the order of ``--help``; a test compares them with the registry.
METHOD_LINES = {
    "default": "every convolution and matrix product with a constant weight in int8",
    "accuracy-aware": "int8, but the layers that cost most go back to float32 until --max-drop holds",
    "weights-only": "weights in int8 or int4, activations in floats; needs no data",
    "dynamic": "matrix products in int8, scaled anew in every run; needs no data",
    "mixed": "int8, but the layers that cost most are left for bfloat16",
}
#: The methods that keep --max-drop; a test compares them with the registry.
BOUNDED = ("accuracy-aware", "mixed")
AUTO = "auto"
ROUNDINGS = ("nearest", "gptq")
CALIBRATIONS = ("minmax", "entropy", "percentile")


_LEAST_GROUP = 16


def check_bits(method: str, bits: int, group: int, rounding: str) -> None:
    """Raise UserError for what a method does not make, and for groups too small for the bits."""
    if rounding != "nearest" and method != "weights-only":
        raise UserError(f"--rounding {rounding} is for --method weights-only: method '{method}' rounds to the nearest")
    if bits == 4 and method != "weights-only":
        raise UserError(f"--bits 4 is for --method weights-only: method '{method}' makes integers of eight bits")
    if 0 < group < _LEAST_GROUP or (bits == 4 and not group):
        raise UserError(f"a group of {group} weights is too small: give --group {_LEAST_GROUP} or more")


def check_bound(method: str, given: Sequence[str]) -> None:
    """Raise UserError for options of a bound, by their parameters' names, where the method keeps none."""
    if given and method not in BOUNDED:
        option = "--" + given[0].replace("_", "-")
        raise UserError(f"{option} is for --method {' and '.join(BOUNDED)}: method '{method}' keeps no bound")


class Strength(_ParamType):
    """``auto``, or a number from 0 to 1."""

    name = "STRENGTH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        """Return the word, or the number."""
        if value == AUTO:
            return AUTO
        return float(click.FloatRange(0, 1).convert(value, param, ctx))


class Percentage(_ParamType):
    """A share: ``0.5%`` or ``0.005``."""

    name = "SHARE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share as a number."""
        if isinstance(value, float):
            return value
        text = str(value).strip()
        try:
            number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            self.fail(f"'{value}' is no share: write 0.5% or 0.005", param, ctx)
        if not (math.isfinite(number) and number >= 0):
            self.fail(f"'{value}' must be zero or more", param, ctx)
        return number
