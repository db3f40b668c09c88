"""CUDA C++ without headers: a program needs the compiler alone."""

from __future__ import annotations

from .dialect import MATH, Dialect

_INTEGERS = {"8": "signed char", "16": "short", "32": "int", "64": "long long"}
_TYPES = {
    "bool": "unsigned char",
    "float32": "float",
    "float64": "double",
    **{f"int{bits}": name for bits, name in _INTEGERS.items()},
    **{f"uint{bits}": f"unsigned {name.removeprefix('signed ')}" for bits, name in _INTEGERS.items()},
}
_HEAD = """\
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#endif
"""
_WORDS = (
    "bool class new delete this template typename namespace operator private public protected friend virtual using "
    "try catch throw and or not xor half float2 float4 int2 int4 min max abs warpSize gridDim blockDim blockIdx "
    "threadIdx"
)
_BITS = {
    ("float32", "int32"): "__float_as_int",
    ("float32", "uint32"): "__float_as_uint",
    ("int32", "float32"): "__int_as_float",
    ("uint32", "float32"): "__uint_as_float",
    ("float64", "int64"): "__double_as_longlong",
    ("int64", "float64"): "__longlong_as_double",
    ("int32", "uint32"): "(unsigned int)",
    ("uint32", "int32"): "(int)",
}


def _bits(source: str, result: str, value: str) -> str:
    return f"{_BITS[source, result]}({value})"


CUDA = Dialect(
    name="CUDA C++",
    types=_TYPES,
    head=_HEAD,
    kernel='extern "C" __global__ void',
    memory={"global": "", "local": "", "shared": "__shared__"},
    functions={name: f"{function}f" for name, function in {**MATH, "rsqrt": "rsqrt"}.items()},
    overloads=lambda function, dtype: function.removesuffix("f") if dtype == "float64" else "",
    bits=_bits,
    threads={
        **{f"blockIdx.{axis}": f"(int)blockIdx.{axis}" for axis in "xyz"},
        **{f"threadIdx.{axis}": f"(int)threadIdx.{axis}" for axis in "xyz"},
    },
    barrier="__syncthreads()",
    words=frozenset(_WORDS.split()),
    restrict="__restrict__",
)
