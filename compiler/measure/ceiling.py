"""The ceiling of this machine: multiply-adds a second, and bytes a second from working sets of several sizes.

A step cannot be faster than max(flops / compute, bytes / bandwidth): the roofline model (Williams, Waterman and
Patterson, "Roofline", CACM 2009), with the bandwidth of the cache level that holds the step's operands, so that a step
whose operands stay in a cache is not measured against main memory.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...targets.database import load_target
from ...targets.toolchain import find_toolchain

_SOURCE = Path(__file__).with_name("ceiling.c")
_TRIALS = 5
_TRIAL_SECONDS = 0.02
_COMPUTE_ROUNDS = 200_000
_ALIGNMENT = 64
#: Working sets of one thread: from well inside a first-level cache to well beyond a last-level one.
_WORKING_SETS = tuple(1 << power for power in range(14, 28))


@dataclass(frozen=True)
class Ceiling:
    """What this machine can do with a number of threads.

    Attributes:
        threads: how many threads it was measured with.
        flops: single-precision operations a second, a multiply-add counted as two.
        bandwidths: pairs of (working set in bytes, bytes a second), for all threads together, ascending.
    """

    threads: int
    flops: float
    bandwidths: tuple[tuple[int, float], ...]

    def bandwidth(self, working_set: float) -> float:
        """Return the bytes a second at which a working set of this size can be read, interpolated."""
        sizes, rates = zip(*self.bandwidths, strict=True)
        return float(np.interp(np.log2(max(working_set, 1.0)), np.log2(sizes), rates))

    def seconds(self, flops: float, bytes_moved: float) -> float:
        """Return the least time that a step of so many operations on so many bytes can take; 0 when both are 0."""
        return max(flops / self.flops, bytes_moved / self.bandwidth(bytes_moved))

    def bound(self, flops: float, bytes_moved: float) -> str:
        """Return which ceiling is the nearer: "compute" or "memory"."""
        return "compute" if flops / self.flops > bytes_moved / self.bandwidth(bytes_moved) else "memory"


def measure_ceiling(threads: int, march: str = "native") -> Ceiling:
    """Compile the measuring functions for this very CPU, run them on so many threads at once and forget them.

    Takes about two seconds. ``march``, as the C compiler calls it, restricts them to the instructions of another CPU.
    Raises UserError when there is no C compiler.
    """
    with tempfile.TemporaryDirectory(prefix="tilewright-") as folder:
        library = _build(Path(folder), march)
    flops = sum(_together(threads, lambda index: _compute_rate(library)))
    buffers = [_aligned(max(_WORKING_SETS) // threads) for _ in range(threads)]
    rates = []
    for total in _WORKING_SETS:
        share = total // threads // (8 * _ALIGNMENT) * (8 * _ALIGNMENT)
        if share:
            found = _together(threads, partial(_read_rate, library, buffers, share))
            rates.append((total, sum(found)))
    return Ceiling(threads, flops, tuple(_falling(rates)))


def _build(folder: Path, march: str) -> ctypes.CDLL:
    toolchain = find_toolchain(load_target("host"))
    path = folder / "ceiling.so"
    flags = ["-O2", f"-march={march}", "-ffp-contract=fast", "-fPIC", "-shared"]
    done = subprocess.run(
        [*toolchain.cc, *flags, str(_SOURCE), "-o", str(path)], capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        raise UserError(f"the C compiler '{toolchain.cc[0]}' cannot build a small program: {done.stderr.strip()[:500]}")
    library = ctypes.CDLL(str(path))
    library.tilewright_ceiling_compute.restype = ctypes.c_double
    library.tilewright_ceiling_compute.argtypes = [ctypes.c_int64, ctypes.POINTER(ctypes.c_double)]
    library.tilewright_ceiling_read.restype = ctypes.c_double
    library.tilewright_ceiling_read.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    return library


def _compute_rate(library: ctypes.CDLL) -> float:
    operations = ctypes.c_double()
    best = 0.0
    for _ in range(_TRIALS):
        seconds = library.tilewright_ceiling_compute(_COMPUTE_ROUNDS, ctypes.byref(operations))
        best = max(best, operations.value / seconds)
    return best


def _read_rate(library: ctypes.CDLL, buffers: list[NDArray[np.float32]], size: int, index: int) -> float:
    address = buffers[index].ctypes.data
    once = max(library.tilewright_ceiling_read(address, size, 1) for _ in range(2))
    rounds = max(1, int(_TRIAL_SECONDS / max(once, 1e-9)))
    best: float = min(library.tilewright_ceiling_read(address, size, rounds) for _ in range(_TRIALS))
    return size * rounds / best


def _aligned(size: int) -> NDArray[np.float32]:
    """Return zeros at an aligned address, each written: untouched pages would all be one page of memory."""
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    raw[:] = 0
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(np.float32)


def _falling(rates: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return bandwidths that that never rise with the working set: a smaller one that was slower was disturbed."""
    best = 0.0
    fallen = []
    for size, rate in reversed(rates):
        best = max(best, rate)
        fallen.append((size, best))
    return fallen[::-1]


def _together(threads: int, measure: Callable[[int], float]) -> list[float]:
    """Call a function on several threads at once (ctypes frees the interpreter's lock) and return its results."""
    results = [0.0] * threads
    barrier = threading.Barrier(threads)

    def work(index: int) -> None:
        barrier.wait()
        results[index] = measure(index)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return results
