"""Winograd's minimal filtering F(m x m, 3 x 3): its matrices, and weights stored transformed.

An output tile of m x m pixels is Y = A^T [(G g G^T) * (B^T d B)] A for a filter g of 3 x 3 and a data tile d of n x n,
n = m + 2, with n^2 instead of 9 m^2 multiplications for each pair of channels. The matrices follow from Cook and Toom's
algorithm at n - 1 finite points and infinity (S. Winograd, Arithmetic Complexity of Computations, 1980; A. Lavin and
S. Gray, Fast Algorithms for Convolutional Neural Networks, 2015): with f_i the product of all a_i - a_j, row i of B^T
holds the coefficients of the product of all x - a_j, j != i, row i of G the powers of a_i divided by f_i, column i of
A^T the powers.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .layout import Layout

#: Finite points of each tile size m. For F(4x4) these have a quarter of the error of the usual 0, +-1, +-2 (measured:
#: 1.9e-6 against 8.2e-6 of the largest output, 128 channels), because the matrices' entries stay closer to one.
POINTS: dict[int, tuple[Fraction, ...]] = {
    2: (Fraction(0), Fraction(1), Fraction(-1)),
    4: (Fraction(0), Fraction(3, 4), Fraction(-3, 4), Fraction(3, 2), Fraction(-3, 2)),
}
KERNEL = 3

Matrix = tuple[tuple[Fraction, ...], ...]


@dataclass(frozen=True)
class Transforms:
    """The exact matrices of F(m, 3): ``data`` is B^T (n x n), ``weight`` is G (n x 3), ``output`` is A^T (m x n)."""

    data: Matrix
    weight: Matrix
    output: Matrix


@cache
def transforms(tile: int) -> Transforms:
    """Return the matrices for output tiles of this size."""
    points = POINTS[tile]
    size = tile + KERNEL - 1
    data, weight = [], []
    for index, point in enumerate(points):
        others = [each for at, each in enumerate(points) if at != index]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        sign = 1 if scale > 0 else -1
        data.append(tuple(sign * each for each in _product(others, size)))
        weight.append(tuple(point**power / abs(scale) for power in range(KERNEL)))
    data.append(_product(list(points), size))
    weight.append(tuple(Fraction(int(power == KERNEL - 1)) for power in range(KERNEL)))
    output = tuple((*(point**power for point in points), Fraction(int(power == tile - 1))) for power in range(tile))
    return Transforms(tuple(data), tuple(weight), output)


def _product(roots: list[Fraction], size: int) -> tuple[Fraction, ...]:
    """Return the coefficients of the product of all x - root, the constant first, filled up with zeros."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [high - root * low for high, low in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return tuple(coefficients + [Fraction(0)] * (size - len(coefficients)))


@dataclass(frozen=True)
class WinogradLayout(Layout):
    """Weights OIHW of 3 x 3 stored as G g G^T: [n * n, ceil(O / block), I, block], padding zero.

    Attributes:
        tile: m, the size of an output tile.
        block: output channels of a vector.
        pairs: whether two input channels lie side by side: [n * n, ceil(O / block), ceil(I / 2), block, 2].
    """

    tile: int = 0
    block: int = 0
    pairs: bool = False

    @staticmethod
    def of(tile: int, block: int, pairs: bool = False) -> WinogradLayout:
        """Return the layout for output tiles of m x m and vectors of ``block`` lanes."""
        return WinogradLayout("OIHW", "OIHW", tile, block, pairs)

    def stored_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape in memory."""
        outer = ((self.tile + KERNEL - 1) ** 2, -(-shape[0] // self.block))
        return (*outer, -(-shape[1] // 2), self.block, 2) if self.pairs else (*outer, shape[1], self.block)

    def pack(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the transformed weights, computed in float64 and rounded once."""
        out_channels, in_channels = array.shape[:2]
        g = _float64(transforms(self.tile).weight)
        points = np.moveaxis(g @ array.astype(np.float64) @ g.T, (2, 3), (0, 1))
        points = np.pad(points, ((0, 0), (0, 0), (0, -out_channels % self.block), (0, 0)))
        blocked = points.reshape(len(g) ** 2, -1, self.block, in_channels).transpose(0, 1, 3, 2)
        if self.pairs:
            even = np.pad(blocked, ((0, 0), (0, 0), (0, in_channels % 2), (0, 0)))
            blocked = even.reshape(*even.shape[:2], -1, 2, self.block).swapaxes(3, 4)
        return np.ascontiguousarray(blocked.astype(array.dtype))

    def unpack(self, array: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
        """Return the weights again, up to rounding: G has full rank, so its pseudo-inverse recovers them."""
        inverse = self.recovery
        size = inverse.shape[1]
        if self.pairs:
            array = array.swapaxes(3, 4).reshape(*array.shape[:2], -1, self.block)[:, :, : shape[1]]
        points = array.transpose(0, 1, 3, 2).reshape(size, size, -1, shape[1])[:, :, : shape[0]]
        weights: NDArray[np.generic] = inverse @ np.moveaxis(points.astype(np.float64), (0, 1), (2, 3)) @ inverse.T
        return weights.astype(array.dtype)

    @property
    def recovery(self) -> NDArray[np.float64]:
        """The pseudo-inverse of G, 3 x n."""
        return np.asarray(np.linalg.pinv(_float64(transforms(self.tile).weight)), np.float64)


def _float64(matrix: Matrix) -> NDArray[np.float64]:
    return np.array([[float(each) for each in row] for row in matrix])
