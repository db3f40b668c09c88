"""The register tile of bytes: unsigned data times signed weights, four products of a lane at a time, summed in int32.

With AVX-512 VNNI one instruction (``vpdpbusd``) adds the four products of every lane. Without it even and odd bytes are
widened to 16 bits and multiplied by ``vpmaddwd``, which adds two products of 16 bits exactly; ``vpmaddubsw``, which
takes bytes, saturates at 16 bits and is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...targets.target import Target
from .register_tile import RegisterTile

Expr = Any

#: Bytes of one step of a lane.
STEP = 4
_VNNI = "avx512_vnni"
_DOT = {16: "llvm.x86.avx512.vpdpbusd.512"}
_PAIRS = {16: "llvm.x86.avx512.pmaddw.d.512", 8: "llvm.x86.avx2.pmadd.wd", 4: "llvm.x86.sse2.pmadd.wd"}


class IntegerTile(RegisterTile):
    """A register tile whose accumulators are int32 and whose steps are of four bytes.

    ``element(row, lane)`` gives the four unsigned bytes of a step as one int32, whatever the lane;
    ``weight(vector, lane)`` the signed bytes of all lanes, int8 x (4 lanes).
    """

    def __init__(self, rows: int, vectors: int, lanes: int, target: Target) -> None:
        super().__init__(rows, vectors, lanes, dtype="int32")
        self._dot = _dot_product if _VNNI in target.features and lanes in _DOT else _widened_product

    def _row(self, row: Expr, element: Callable[[Expr, Expr], Expr], weight: Callable[[int, Expr], Expr]) -> None:
        data = tirx.Broadcast(element(row, 0), self.lanes)
        lanes = tirx.Ramp(0, 1, self.lanes)
        for vector, sums in enumerate(self._sums):
            T.buffer_store(sums, self._dot(sums[row, lanes], data, weight(vector, 0), self.lanes), [row, lanes])


def four_bytes(buffer: Any, index: list[Expr], channel: Expr) -> Expr:
    """Return four neighbouring bytes of a buffer's last dimension as one int32."""
    return tirx.reinterpret("int32", buffer[(*index, tirx.Ramp(channel, 1, STEP))])


def _dot_product(sums: Expr, data: Expr, weight: Expr, lanes: int) -> Expr:
    bytes_ = f"int8x{STEP * lanes}"
    return _intrinsic(f"int32x{lanes}", _DOT[lanes], sums, tirx.reinterpret(bytes_, data), weight)


def _widened_product(sums: Expr, data: Expr, weight: Expr, lanes: int) -> Expr:
    """Even and odd bytes apart: data cleared or shifted to 16 bits, weights shifted with their sign."""
    words, kind = 2 * lanes, f"int16x{2 * lanes}"
    unsigned = tirx.reinterpret(f"uint16x{words}", data)
    signed = tirx.reinterpret(kind, weight)
    eight, low = tirx.const(8, f"uint16x{words}"), tirx.const(0xFF, f"uint16x{words}")
    shift = tirx.const(8, kind)
    even = (unsigned & low, (signed << shift) >> shift)
    odd = (unsigned >> eight, signed >> shift)
    for bytes_, weights in (even, odd):
        sums = sums + _intrinsic(f"int32x{lanes}", _PAIRS[lanes], tirx.reinterpret(kind, bytes_), weights)
    return sums


def _intrinsic(dtype: str, name: str, *args: Expr) -> Expr:
    return tirx.call_llvm_pure_intrin(dtype, name, *args)
