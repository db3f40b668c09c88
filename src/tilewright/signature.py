"""What a model takes and gives: names, shapes and element types, in the model's own order."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model.

    Attributes:
        name: the model's own name for it.
        shape: dimensions in elements; a string is a symbolic dimension.
        dtype: numpy's name of the element type ("float32", "int64", "bool", ...).
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape, all of it known. Raises ValueError when a dimension is symbolic."""
        dims = tuple(dim for dim in self.shape if isinstance(dim, int))
        if len(dims) != len(self.shape):
            raise ValueError(f"'{self.name}' has symbolic dimensions: {self.shape}")
        return dims

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.static_shape)


@dataclass(frozen=True)
class Signature:
    """A model's inputs and outputs, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
