"""What a model takes and gives: names, shapes and element types, in the model's own order."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model.

    Attributes:
        name: the model's own name for it.
        shape: dimensions in elements; what only a run knows is a ``Dim``, or its text in a loaded library.
        dtype: numpy's name of the element type ("float32", "int64", "bool", ...).
        largest: in a loaded library, the largest shape; empty where the shape says it.
        labels: of an output whose elements are strings for the model's author: the strings that its int64 elements
            number; empty for all others.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    largest: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape, all of it known. Raises ValueError when a dimension is symbolic."""
        dims = tuple(dim for dim in self.shape if isinstance(dim, int))
        if len(dims) != len(self.shape):
            raise ValueError(f"'{self.name}' has symbolic dimensions: {self.shape}")
        return dims

    @property
    def is_static(self) -> bool:
        """Whether all dimensions are numbers."""
        return all(isinstance(dim, int) for dim in self.shape)

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape of a model being compiled: numbers and ``Dim``."""
        return tuple(dim for dim in self.shape if not isinstance(dim, str))

    @property
    def largest_shape(self) -> tuple[int, ...]:
        """The largest shape of a loaded library's tensor: the only one where all dimensions are numbers."""
        return self.largest or self.static_shape

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Return whether a tensor of a loaded library can have this shape, as far as no other tensor speaks."""
        if len(shape) != len(self.shape):
            return False
        bounds = zip(self.shape, self.largest_shape, shape, strict=True)
        return all(size == dim if isinstance(dim, int) else 0 <= size <= most for dim, most, size in bounds)

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.static_shape)


@dataclass(frozen=True)
class Signature:
    """A model's inputs and outputs, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
