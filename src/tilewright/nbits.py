"""Weights of a few bits, as kernels and passes speak of them."""

from __future__ import annotations

#: Codes of four bits in one int32.
NIBBLES = 8


def depth_of(codes: tuple[int, ...], bits: int) -> int:
    """Return K of stored codes [N, K] (eight bits) or [N, K / 8] (four)."""
    return codes[1] * (NIBBLES if bits == 4 else 1)
