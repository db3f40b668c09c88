"""The outputs of a run."""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..registry import nearest
from ..signature import TensorSpec

Array = NDArray[Any]


def named_labels(outputs: Sequence[TensorSpec]) -> dict[str, tuple[str, ...]]:
    """Return the labels of the outputs that have any, by the outputs' names."""
    return {spec.name: spec.labels for spec in outputs if spec.labels}


class Outputs:
    """Arrays in the model's order that also have names.

    Unpacking and iteration give the arrays (``boxes, scores = model(x)``); ``outputs["scores"]`` and ``outputs[1]``
    pick one; ``dict(outputs)`` maps names to arrays; ``"scores" in outputs`` asks for a name.

    Args:
        labels: of outputs that stand for strings, the strings; their arrays become arrays of these.
    """

    __slots__ = ("_arrays",)

    def __init__(
        self, names: Sequence[str], arrays: Sequence[Array], labels: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._arrays = dict(zip(names, arrays, strict=True))
        for name, strings in (labels or {}).items():
            self._arrays[name] = np.asarray(strings)[self._arrays[name]]

    def keys(self) -> KeysView[str]:
        """Return the names, in order."""
        return self._arrays.keys()

    def values(self) -> tuple[Array, ...]:
        """Return the arrays, in order."""
        return tuple(self._arrays.values())

    def items(self) -> tuple[tuple[str, Array], ...]:
        """Return pairs of name and array, in order."""
        return tuple(self._arrays.items())

    @overload
    def __getitem__(self, which: str | int) -> Array: ...
    @overload
    def __getitem__(self, which: slice) -> tuple[Array, ...]: ...

    def __getitem__(self, which: str | int | slice) -> Array | tuple[Array, ...]:
        if not isinstance(which, str):
            return self.values()[which]
        if which not in self._arrays:
            raise KeyError(f"the model has no output '{which}'{nearest(which, list(self._arrays))}")
        return self._arrays[which]

    def __iter__(self) -> Iterator[Array]:
        return iter(self._arrays.values())

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}: {array.dtype}{list(array.shape)}" for name, array in self._arrays.items())
        return f"Outputs({shown})"
