"""OpenCL C 1.2."""

from __future__ import annotations

from .dialect import MATH, Dialect

_TYPES = {
    "bool": "uchar",
    "float16": "half",
    "float32": "float",
    "float64": "double",
    **{f"int{bits}": name for bits, name in ((8, "char"), (16, "short"), (32, "int"), (64, "long"))},
    **{f"uint{bits}": name for bits, name in ((8, "uchar"), (16, "ushort"), (32, "uint"), (64, "ulong"))},
}
_HEAD = """\
#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
#ifdef cl_khr_fp16
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#endif
"""
_WORDS = (
    "kernel global local constant private read_only write_only half uchar ushort uint ulong image2d_t sampler_t "
    "event_t barrier select step clamp mix degrees radians sign dot cross length distance normalize any all shuffle"
)

OPENCL = Dialect(
    name="OpenCL C",
    types=_TYPES,
    head=_HEAD,
    kernel="__kernel void",
    memory={"global": "__global", "local": "", "shared": "__local"},
    functions={**MATH, "rsqrt": "rsqrt"},
    overloads=lambda function, dtype: function if dtype in ("float16", "float64") else "",
    bits=lambda source, result, value: f"as_{_TYPES[result]}({value})",
    threads={
        **{f"blockIdx.{axis}": f"(int)get_group_id({at})" for at, axis in enumerate("xyz")},
        **{f"threadIdx.{axis}": f"(int)get_local_id({at})" for at, axis in enumerate("xyz")},
    },
    barrier="barrier(CLK_LOCAL_MEM_FENCE)",
    load=lambda lanes, pointer: f"vload{lanes}(0, {pointer})",
    store=lambda lanes, value, pointer: f"vstore{lanes}({value}, 0, {pointer})",
    words=frozenset(_WORDS.split()),
    long_suffix="L",
)
