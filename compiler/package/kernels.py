"""Compile kernels: equal ones once, distinct ones side by side in processes."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...targets.target import Target
from .helpers import Request, Work, helpers
from .lowering import compile_kernel
from .source.printing import PRINTED, print_all

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

#: A further process pays from this many kernels on: it imports TVM before it compiles any.
_KERNELS_PER_PROCESS = 6
_PREFIX = "tw_kernel_"


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel.

    Attributes:
        symbol: its function's name in the object file.
        path: the object file, or the text.
        scratch: bytes of scratch it takes as its last argument; 0 when it takes none.
    """

    symbol: str
    path: Path
    scratch: int


def compile_kernels(functions: Mapping[str, PrimFunc], target: Target, folder: Path, jobs: int) -> dict[str, Kernel]:
    """Compile scheduled PrimFuncs into object files.

    Args:
        functions: by name; functions that compute the same share one kernel, named after the first.
        folder: where the object files go.
        jobs: how many processes work, this one included; 0 for one per processor.

    Returns:
        the kernel of every name.
    """
    representative = _representatives(functions)
    symbols = _symbols(list(dict.fromkeys(representative.values())))
    requests = _requests({symbols[name]: functions[name] for name in symbols}, target, folder)
    if target.kind in PRINTED:
        scratch = print_all(requests, target.kind)
    else:
        scratch = _compile_all(requests, jobs or len(os.sched_getaffinity(0)))
    compiled = {each.symbol: Kernel(each.symbol, each.path, scratch[each.symbol]) for each in requests}
    return {name: compiled[symbols[first]] for name, first in representative.items()}


def bare(function: PrimFunc) -> PrimFunc:
    """Return the function without what does not change its code: its name and our notes on it."""
    for key in list(function.attrs.keys() if function.attrs else ()):
        if key == "global_symbol" or key.startswith("tilewright."):
            function = function.without_attr(key)
    return function


def _representatives(functions: Mapping[str, PrimFunc]) -> dict[str, str]:
    """Map every name to the first name whose function is structurally the same."""
    from tvm_ffi import structural_equal, structural_hash

    groups: dict[int, list[tuple[str, PrimFunc]]] = {}
    found: dict[str, str] = {}
    for name, function in functions.items():
        stripped = bare(function)
        group = groups.setdefault(structural_hash(stripped), [])
        same = next((first for first, other in group if structural_equal(stripped, other)), None)
        found[name] = same or name
        if same is None:
            group.append((name, stripped))
    return found


def _symbols(names: list[str]) -> dict[str, str]:
    """Map names to C identifiers, all different; equal names in equal order give equal symbols."""
    symbols: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        stem = _PREFIX + "".join(each if each.isascii() and each.isalnum() else "_" for each in name)
        numbered = (f"{stem}_{number}" for number in itertools.count(1))
        symbol = next(each for each in itertools.chain([stem], numbered) if each not in taken)
        taken.add(symbol)
        symbols[name] = symbol
    return symbols


def _requests(functions: Mapping[str, PrimFunc], target: Target, folder: Path) -> list[Request]:
    from tvm.ir import save_json

    kind = {key: list(value) if isinstance(value, tuple) else value for key, value in target.tvm}
    return [
        Request(save_json(bare(function)), symbol, kind, folder / f"{symbol}.o")
        for symbol, function in functions.items()
    ]


def _compile_all(requests: list[Request], jobs: int) -> dict[str, int]:
    """Return the scratch of each symbol. This process works too, so that one job needs no other process."""
    work = Work(deque(sorted(requests, key=lambda each: len(each.text), reverse=True)))
    with helpers(work, min(jobs, len(requests) // _KERNELS_PER_PROCESS) - 1) as finish:
        while request := work.next():
            scratch = compile_kernel(request.text, request.symbol, request.target, request.path)
            work.scratch[request.symbol] = scratch
        finish()
    if work.failures:
        raise work.failures[0]
    return work.scratch
