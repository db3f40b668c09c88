"""Compile CUDA to a cubin with NVRTC, the compiler as a library, which needs no GPU."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ...errors import UserError

#: The library to open in place of those that are looked for.
ENVIRONMENT = "TILEWRIGHT_NVRTC"


def compile_cubin(source: str, architecture: str) -> bytes:
    """Return the cubin of a program for an architecture such as "sm_86".

    Raises UserError where there is no NVRTC, or one that does not know the architecture; RuntimeError with the
    compiler's words when it refuses the program.
    """
    library = _library()
    program = ctypes.c_void_p()
    made = library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    if made:
        raise RuntimeError(f"nvrtcCreateProgram failed with code {made}")
    try:
        # Contraction to fused multiply-adds stays on; nothing that changes numbers otherwise.
        options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17"]
        code = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        if code:
            words = _text(library, program, "ProgramLog").decode(errors="replace")
            if code == _INVALID_OPTION:
                raise UserError(
                    f"NVRTC does not know {architecture}: {words.strip()}; install another nvidia-cuda-nvrtc"
                )
            raise RuntimeError(f"NVRTC refuses the program: {words}")
        return _text(library, program, "CUBIN")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


_INVALID_OPTION = 5


def _text(library: Any, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{what}")(program, buffer)
    return buffer.raw if what == "CUBIN" else buffer.value


@cache
def _library() -> Any:
    for path in _candidates():
        try:
            # Its helper library lies beside it and is opened by name later.
            for helper in sorted(Path(path).parent.glob("libnvrtc-builtins.so*")):
                ctypes.CDLL(str(helper))
            return ctypes.CDLL(path)
        except OSError:
            continue
    raise UserError("no NVRTC was found to compile for CUDA: install it with pip install 'tilewright[cuda]'")


def _candidates() -> Iterator[str]:
    if own := os.environ.get(ENVIRONMENT):
        yield own
        return
    parent = importlib.util.find_spec("nvidia")
    for folder in (parent.submodule_search_locations or ()) if parent else ():
        yield from map(str, sorted(Path(folder).glob("*/lib/libnvrtc.so.*")))
    if found := ctypes.util.find_library("nvrtc"):
        yield found


def is_available() -> bool:
    """Return whether NVRTC can be opened."""
    try:
        _library()
    except UserError:
        return False
    return True
