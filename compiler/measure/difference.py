"""How far two arrays lie apart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


def largest_magnitude(array: Array) -> float:
    """Return the largest finite magnitude, 0 for an empty array."""
    values = np.abs(np.asarray(array, dtype=np.float64))
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else 0.0


def largest_difference(got: Array, reference: Array) -> float:
    """Return the largest absolute difference of two arrays of one shape.

    It is infinite where one is NaN or infinite and the other is not the same, and never 0 for integers that differ.
    """
    if reference.dtype.kind != "f" and not np.array_equal(got, reference):
        return max(1.0, float(np.abs(got.astype(np.float64) - reference.astype(np.float64)).max()))
    ours, theirs = (np.asarray(each, dtype=np.float64) for each in (got, reference))
    finite = np.isfinite(theirs) & np.isfinite(ours)
    if not np.array_equal(ours[~finite], theirs[~finite], equal_nan=True):
        return np.inf
    return float(np.abs(ours[finite] - theirs[finite]).max(initial=0.0))


def relative_norm(got: Array, reference: Array) -> float:
    """Return the norm of the difference of two arrays of one shape, relative to the reference's norm.

    It is infinite where an element of either is not finite.
    """
    ours, theirs = (np.asarray(each, dtype=np.float64) for each in (got, reference))
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return np.inf
    return float(np.linalg.norm(ours - theirs) / (np.linalg.norm(theirs) or 1.0))


def relative_difference(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> float:
    """Return the largest difference of any output, relative to the largest magnitude of that output in ``theirs``.

    It is infinite where an output is missing or has another shape.
    """
    worst = 0.0
    for name, array in ours.items():
        if name not in theirs or theirs[name].shape != array.shape:
            return np.inf
        scale = largest_magnitude(theirs[name]) or 1.0
        worst = max(worst, largest_difference(array, theirs[name]) / scale)
    return worst
