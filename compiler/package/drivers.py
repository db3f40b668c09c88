"""The drivers of the runtime: what each takes as a program, and its C files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...targets.target import Target
from .nvrtc import compile_cubin
from .source.cuda import CUDA
from .source.opencl import OPENCL
from .source.printing import Printed


@dataclass(frozen=True)
class Driver:
    """How a kind of device is driven.

    Attributes:
        symbol: the driver's variable in the runtime.
        sources: its C files.
        program: from the kernels and the target to the bytes that the driver loads.
        options: for the driver's own compiler.
    """

    symbol: str
    sources: tuple[str, ...]
    program: Callable[[Sequence[Printed], Target], bytes]
    options: str = ""


def _opencl_program(kernels: Sequence[Printed], target: Target) -> bytes:
    return "\n".join([OPENCL.head, *dict.fromkeys(each.source for each in kernels)]).encode()


def _cuda_program(kernels: Sequence[Printed], target: Target) -> bytes:
    source = "\n".join([CUDA.head, *dict.fromkeys(each.source for each in kernels)])
    return compile_cubin(source, str(dict(target.tvm)["arch"]))


#: By the kind of target.
DRIVERS: Mapping[str, Driver] = {
    "opencl": Driver("tw_driver_opencl", ("driver_opencl.c", "cache.c"), _opencl_program, "-cl-std=CL1.2"),
    "cuda": Driver("tw_driver_cuda", ("driver_cuda.c",), _cuda_program),
}
