"""Fields of a file that may hold anything: each is checked as it is read, and what is wrong is a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import UserError

Array = NDArray[Any]


class Fields:
    """The named fields of one part of a file.

    Args:
        values: the fields.
        where: what sentences call the part.
    """

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, Mapping):
            raise UserError(f"{where} is not made of named fields: the file is damaged or of another kind")
        self.values, self.where = values, where

    def has(self, name: str) -> bool:
        """Return whether there is a field."""
        return name in self.values

    def get(self, name: str) -> Any:
        """Return a field's value. Raises UserError when there is none."""
        if name not in self.values:
            raise UserError(f"{self.where} has no field '{name}': the file is damaged or of another kind")
        return self.values[name]

    def part(self, name: str) -> Fields:
        """Return a field that is made of fields."""
        return Fields(self.get(name), f"{self.where}'s '{name}'")

    def text(self, name: str) -> str:
        """Return a field of text."""
        return str(self.get(name))

    def integer(self, name: str, default: int | None = None, least: int = 0, most: int = 2**31 - 1) -> int:
        """Return an integer, which the file may hold as text. Raises UserError outside of least..most."""
        if default is not None and name not in self.values:
            return default
        value = self._scalar(name)
        if not least <= value <= most or value != int(value):
            raise UserError(f"{self.where}: '{name}' is {value:g}, not an integer from {least} to {most}")
        return int(value)

    def array(self, name: str, dtype: str, count: int | None = None, missing: Any = None) -> Array:
        """Return numbers, which the file may hold as text between blanks.

        Args:
            count: how many there must be.
            missing: what all are where there is no such field; None where there must be one.
        """
        if missing is not None and name not in self.values:
            return np.full(count or 0, missing, dtype)
        value = self.get(name)
        try:
            with np.errstate(over="ignore", invalid="raise"):
                found = np.asarray(value.split() if isinstance(value, str) else value, np.float64).reshape(-1)
                wanted = found.astype(dtype)
        except (TypeError, ValueError, OverflowError, FloatingPointError) as error:
            raise UserError(f"{self.where}: '{name}' holds something else than numbers of type {dtype}") from error
        if np.dtype(dtype).kind in "iu" and (wanted != found).any():
            raise UserError(f"{self.where}: '{name}' holds numbers that are no integers of type {dtype}")
        if count is not None and len(wanted) != count:
            raise UserError(f"{self.where}: '{name}' has {len(wanted)} elements where {count} are needed")
        return wanted

    def _scalar(self, name: str) -> float:
        try:
            return float(self.get(name))
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.where}: '{name}' is not a number") from error
