"""Run a library with every buffer at the edge of memory that may not be touched: an access outside ends the process.

    guarded_run.py LIBRARY INPUTS.npz OUTPUTS.npz front|back

``front`` puts each buffer right behind a forbidden page, ``back`` right before one. The buffers are the inputs, the
outputs (which hold 0xff bytes before, a NaN) and the arena.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path

import numpy as np

from tilewright.runtime import interface

_PAGE = mmap.PAGESIZE
_NO_ACCESS = 0
_libc = ctypes.CDLL(None, use_errno=True)
_kept: list[mmap.mmap] = []


def guarded(count: int, alignment: int, side: str) -> int:
    """Return the address of that many bytes beside a forbidden page, as near as the alignment allows."""
    pages = -(-max(count, 1) // _PAGE)
    block = mmap.mmap(-1, (pages + 2) * _PAGE)
    _kept.append(block)
    base = ctypes.addressof(ctypes.c_char.from_buffer(block))
    ctypes.memset(base, 0xFF, (pages + 2) * _PAGE)
    for page in (base, base + (pages + 1) * _PAGE):
        if _libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(_PAGE), _NO_ACCESS):
            raise OSError(ctypes.get_errno(), "mprotect")
    if side == "front":
        return base + _PAGE
    return (base + (pages + 1) * _PAGE - count) // alignment * alignment


def main(library: str, inputs: str, outputs: str, side: str) -> None:
    loaded = ctypes.CDLL(str(Path(library).resolve()))
    functions = {name: prototype((name, loaded)) for name, prototype in interface.PROTOTYPES.items()}
    info = functions["tilewright_info"]().contents
    instance = ctypes.c_void_p()
    arena = guarded(info.arena_bytes, info.arena_alignment, side)
    assert functions["tilewright_create"](1, arena, ctypes.byref(instance)) == interface.OK

    sources = []
    with np.load(inputs) as given:
        for tensor in info.inputs[: info.num_inputs]:
            array = np.ascontiguousarray(given[tensor.name.decode()])
            assert array.nbytes == tensor.bytes
            sources.append(guarded(array.nbytes, array.itemsize, side))
            ctypes.memmove(sources[-1], array.ctypes.data, array.nbytes)
    described = info.outputs[: info.num_outputs]
    sinks = [guarded(tensor.bytes, tensor.dtype.bits // 8, side) for tensor in described]
    pointers = [(ctypes.c_void_p * len(each))(*each) for each in (sources, sinks)]
    assert functions["tilewright_run"](instance, *pointers) == interface.OK
    results = {
        tensor.name.decode(): np.frombuffer(ctypes.string_at(sink, tensor.bytes), "float32")
        for tensor, sink in zip(described, sinks, strict=True)
    }
    np.savez(outputs, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
