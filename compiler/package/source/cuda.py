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
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
static __device__ __forceinline__ float tw_tf32(float v) {
  unsigned int bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(v));
  return __uint_as_float(bits);
}
static __device__ __forceinline__ void tw_mma_tf32(float* d, float a0, float a1, float a2, float a3, float b0,
                                                   float b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(__float_as_uint(a0)), "r"(__float_as_uint(a1)), "r"(__float_as_uint(a2)), "r"(__float_as_uint(a3)),
        "r"(__float_as_uint(b0)), "r"(__float_as_uint(b1)));
}
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
