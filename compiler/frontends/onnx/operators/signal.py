"""Fourier transforms, as matrix products with the transform's matrix, which is known at import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from .....errors import UserError
from .....tvm_names import dtype_of, shape_of
from ..node import Node, constant, positive_axis, rank_of
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr

#: A longer transform's matrix is too large.
_LONGEST = 8192


@operator("DFT", since=17)
def dft_attribute(node: Node, data: Expr, length: Expr | None = None) -> Expr:
    """Discrete Fourier transform along the attribute ``axis`` (opset 17)."""
    return _dft(node, data, length, node.get_int("axis", 1))


@operator("DFT", since=20)
def dft(node: Node, data: Expr, length: Expr | None = None, axis: Expr | None = None) -> Expr:
    """Discrete Fourier transform along an axis; one-sided and inverse forms as the attributes say."""
    return _dft(node, data, length, -2 if axis is None else node.int_list(axis, "the axis of DFT")[0])


@operator("STFT", since=17)
def stft(
    node: Node, signal: Expr, frame_step: Expr, window: Expr | None = None, frame_length: Expr | None = None
) -> Expr:
    """Fourier transforms [N, frames, frequencies, 2] of frames of a signal [N, length, 1 or 2]."""
    batch, total, parts = shape_of(signal) if rank_of(signal) == 3 else (*shape_of(signal), 1)
    step = node.int_list(frame_step, "the frame step of STFT")[0]
    if frame_length is not None:
        length = node.int_list(frame_length, "the frame length of STFT")[0]
    else:
        length = total if window is None else shape_of(window)[0]
    if not 0 < length <= total or step < 1:
        raise UserError(f"frames of {length} every {step} do not fit a signal of {total}")
    starts = np.arange(0, total - length + 1, step)
    places = constant((starts[:, None] + np.arange(length)).reshape(-1))
    frames = node.emit(relax.op.take(node.reshape(signal, (batch, total, parts)), places, 1, mode="fast"))
    frames = node.reshape(frames, (batch, len(starts), length, parts))
    if window is not None:
        frames = node.emit(relax.op.multiply(frames, node.reshape(window, (length, 1))))
    one_sided = bool(node.get_int("onesided", 1))
    return _transformed(node, frames, 2, _Transform(length, length, parts, one_sided=one_sided))


@dataclass(frozen=True)
class _Transform:
    """A transform of one axis.

    Attributes:
        given: elements of the data along the axis; those past ``length`` are dropped, those missing are zero.
        length: the transform's length.
        parts: 1 for real data, 2 for complex.
        one_sided: only the first half of the frequencies is made, or, inverse, given.
    """

    given: int
    length: int
    parts: int
    inverse: bool = False
    one_sided: bool = False

    def matrix(self) -> NDArray[np.float64]:
        """Return [given * parts, results * parts of a result], from interleaved to interleaved numbers."""
        half = self.length // 2 + 1
        back = self.inverse and self.one_sided
        results = half if self.one_sided and not self.inverse else self.length
        rows = np.arange(min(self.given, half if back else self.length))
        turns = np.outer(rows, np.arange(results)) % self.length / self.length
        factors = np.exp((2j if self.inverse else -2j) * np.pi * turns)
        if self.inverse:
            factors = factors / self.length
        if back:
            # The frequencies that are not given are the conjugates of those that are.
            mirrored = (rows > 0) & (2 * rows < self.length)
            factors = factors * np.where(mirrored, 2.0, 1.0)[:, None]
        real, imaginary = factors.real, factors.imag
        columns = [real] if back else [real, imaginary]
        other = [-imaginary] if back else [-imaginary, real]
        blocks = [columns, other][: self.parts]
        whole = np.zeros((self.given, self.parts, results, len(columns)))
        for part, block in enumerate(blocks):
            for at, column in enumerate(block):
                whole[: len(rows), part, :, at] = column
        return whole


def _dft(node: Node, data: Expr, length: Expr | None, axis: int) -> Expr:
    shape = shape_of(data)
    along = positive_axis(axis, len(shape))
    inverse, one_sided = bool(node.get_int("inverse", 0)), bool(node.get_int("onesided", 0))
    if along == len(shape) - 1 or shape[-1] not in (1, 2):
        raise UserError("the last axis of its data must hold the real and imaginary parts, and is not transformed")
    size = 2 * (shape[along] - 1) if inverse and one_sided else shape[along]
    if length is not None:
        size = node.int_list(length, "the length of DFT")[0]
    return _transformed(node, data, along, _Transform(shape[along], size, shape[-1], inverse, one_sided))


def _transformed(node: Node, data: Expr, axis: int, transform: _Transform) -> Expr:
    if not 0 < transform.length <= _LONGEST:
        raise UserError(f"Fourier transforms of length {transform.length} are not supported: at most {_LONGEST}")
    matrix: NDArray[Any] = transform.matrix()
    given, parts, results, made = matrix.shape
    rank = rank_of(data)
    last = [*(each for each in range(rank) if each not in (axis, rank - 1)), axis, rank - 1]
    moved = node.transpose(data, last)
    outer = shape_of(moved)[:-2]
    # In double precision, because a plain sum of many terms is less exact than a fast transform's.
    flat = node.cast(node.reshape(moved, (*outer, given * parts)), "float64")
    product = node.emit(relax.op.matmul(flat, constant(matrix.reshape(given * parts, results * made))))
    product = node.reshape(node.cast(product, dtype_of(data)), (*outer, results, made))
    return node.transpose(product, np.argsort(last).tolist())
