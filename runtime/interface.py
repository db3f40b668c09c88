"""The C interface of a library, as ctypes sees it: a mirror of ``include/tilewright.h`` and nothing more."""

from __future__ import annotations

import ctypes

from ..element_types import CONTAINED

ABI_VERSION = 2

OK = 0
INVALID_ARGUMENT = -1
OUT_OF_MEMORY = -2
UNSUPPORTED_CPU = -4
NO_DEVICE = -6

# DLPack's (code, bits) to numpy's name.
DTYPES = {
    (0, 8): "int8",
    (0, 16): "int16",
    (0, 32): "int32",
    (0, 64): "int64",
    (1, 8): "uint8",
    (1, 16): "uint16",
    (1, 32): "uint32",
    (1, 64): "uint64",
    (2, 16): "float16",
    (2, 32): "float32",
    (2, 64): "float64",
    (6, 8): "bool",
    **{(each.code, each.bits): name for name, each in CONTAINED.items()},
}


class DType(ctypes.Structure):
    """``tilewright_dtype``."""

    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class Tensor(ctypes.Structure):
    """``tilewright_tensor``."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("dtype", DType),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("bytes", ctypes.c_uint64),
        ("largest", ctypes.POINTER(ctypes.c_int64)),
        ("dims", ctypes.POINTER(ctypes.c_char_p)),
    ]


class Step(ctypes.Structure):
    """``tilewright_step``."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("kernel", ctypes.c_char_p),
        ("flops", ctypes.c_double),
        ("bytes", ctypes.c_double),
    ]


class ModelInfo(ctypes.Structure):
    """``tilewright_model``. Only ``abi_version`` may be read before it is known to be ours."""

    _fields_ = [
        ("abi_version", ctypes.c_uint32),
        ("num_inputs", ctypes.c_int32),
        ("num_outputs", ctypes.c_int32),
        ("num_steps", ctypes.c_int32),
        ("name", ctypes.c_char_p),
        ("target", ctypes.c_char_p),
        ("manifest", ctypes.c_char_p),
        ("inputs", ctypes.POINTER(Tensor)),
        ("outputs", ctypes.POINTER(Tensor)),
        ("steps", ctypes.POINTER(Step)),
        ("arena_bytes", ctypes.c_uint64),
        ("arena_alignment", ctypes.c_uint64),
        ("weight_bytes", ctypes.c_uint64),
    ]


_POINTERS = ctypes.POINTER(ctypes.c_void_p)

# Prototypes made with CFUNCTYPE let go of the interpreter's lock during the call.
PROTOTYPES = {
    "tilewright_info": ctypes.CFUNCTYPE(ctypes.POINTER(ModelInfo)),
    "tilewright_create": ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p, _POINTERS),
    "tilewright_set_shapes": ctypes.CFUNCTYPE(
        ctypes.c_int32, ctypes.c_void_p, ctypes.POINTER(ctypes.POINTER(ctypes.c_int64))
    ),
    "tilewright_output_shape": ctypes.CFUNCTYPE(
        ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_int64)
    ),
    "tilewright_run": ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, _POINTERS, _POINTERS),
    "tilewright_profile": ctypes.CFUNCTYPE(
        ctypes.c_int32, ctypes.c_void_p, _POINTERS, _POINTERS, ctypes.POINTER(ctypes.c_double)
    ),
    "tilewright_error": ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p),
    "tilewright_free": ctypes.CFUNCTYPE(None, ctypes.c_void_p),
}
