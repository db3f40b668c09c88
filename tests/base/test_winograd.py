"""Winograd's matrices, exactly, and weights stored transformed."""

from fractions import Fraction

import numpy as np
import pytest

from tilewright.winograd import POINTS, WinogradLayout, transforms


def times(matrix, vector):
    return [sum((a * b for a, b in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]


@pytest.mark.parametrize("tile", POINTS)
def test_the_transforms_are_an_exact_correlation(tile):
    """In one dimension, for each pair of unit vectors: A^T [(G g) * (B^T d)] = correlate(d, g)."""
    found = transforms(tile)
    size = tile + 2
    assert [len(found.data), len(found.weight), len(found.output)] == [size, size, tile]
    for at in range(size):
        for tap in range(3):
            data, weight = (
                [Fraction(int(each == at)) for each in range(size)],
                [Fraction(int(each == tap)) for each in range(3)],
            )
            product = [a * b for a, b in zip(times(found.data, data), times(found.weight, weight), strict=True)]
            expected = [Fraction(int(pixel + tap == at)) for pixel in range(tile)]
            assert times(found.output, product) == expected


@pytest.mark.parametrize("tile", POINTS)
def test_stored_weights(tile):
    layout = WinogradLayout.of(tile, 8)
    weight = np.random.default_rng(0).standard_normal((11, 3, 3, 3)).astype("float32")
    stored = layout.pack(weight)
    assert stored.shape == layout.stored_shape(weight.shape) == ((tile + 2) ** 2, 2, 3, 8)
    assert stored.dtype == np.float32
    assert not stored[:, 1, :, 3:].any()
    g = np.array(transforms(tile).weight, dtype=float)
    pairs = WinogradLayout.of(tile, 8, pairs=True)
    in_pairs = pairs.pack(weight)
    assert in_pairs.shape == pairs.stored_shape(weight.shape) == ((tile + 2) ** 2, 2, 2, 8, 2)
    np.testing.assert_array_equal(in_pairs[:, :, 1, :, 0], stored[:, :, 2])
    assert not in_pairs[:, :, 1, :, 1].any()
    np.testing.assert_allclose(stored[:, 1, 2, 1], (g @ weight[9, 2].astype(float) @ g.T).ravel(), rtol=1e-6)
