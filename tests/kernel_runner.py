"""Compile one PrimFunc for this machine and run it on numpy arrays, its outputs poisoned first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray

from tilewright.schedules.in_place import in_place_operands
from tilewright.schedules.low_precision import LLVM_IR
from tilewright.targets.target import Facts, Target
from tilewright.workload import TensorType, Workload

Array = NDArray[Any]

_V2 = frozenset({"sse4_1", "sse4_2", "ssse3", "popcnt", "cx16"})
_V3 = _V2 | {"avx", "avx2", "fma", "f16c", "bmi1", "bmi2", "movbe", "abm"}
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


def _x86(level: int, bits: int, registers: int, features: frozenset[str]) -> Target:
    return Target(
        name=f"x86-64-v{level}",
        description=f"x86-64 level {level}.",
        arch="x86",
        triple="x86_64-linux-gnu",
        tvm=(("kind", "llvm"), ("mcpu", f"x86-64-v{level}")),
        features=features,
        facts=Facts(bits, registers, 32 << 10, 1 << 20, 32 << 20, 1),
        toolchain=("gcc",),
    )


TARGETS = {2: _x86(2, 128, 16, _V2), 3: _x86(3, 256, 16, _V3), 4: _x86(4, 512, 32, _V4)}


def host_level() -> int:
    """The x86-64 level whose instructions this machine runs."""
    with open("/proc/cpuinfo", encoding="ascii") as info:
        flags = set(next(line for line in info if line.startswith("flags")).split())
    return max(level for level, target in TARGETS.items() if target.features <= flags | {"sse4_1", "cx16"})


def runnable_targets() -> list[Target]:
    """The targets whose code this machine can run."""
    return [target for level, target in TARGETS.items() if level <= host_level()]


def build(function: Any, target: Target) -> Any:
    """Return the library of one PrimFunc."""
    if LLVM_IR in function.attrs:
        text = tvm.ir.StringImm(str(function.attrs[LLVM_IR]))
        body = tvm.tirx.AttrStmt(0, "pragma_import_llvm", text, function.body)
        function = tvm.tirx.PrimFunc(function.params, body, function.ret_type, attrs=function.attrs)
    module = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
    # As in our own lowering: that pass defines some variables behind their first use.
    with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_cse_tir": True}):
        return tvm.compile(module, target=tvm.target.Target(dict(target.tvm)))


def assembly(function: Any, target: Target) -> str:
    """Return the assembly of one PrimFunc."""
    text: str = build(function, target).mod.inspect_source("asm")
    return text


def poison(shape: Sequence[int], dtype: str) -> Array:
    """Return an array of values that no kernel may leave: NaN, the least integer, or true."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return np.full(shape, np.nan, kind)
    if kind.kind == "b":
        return np.ones(shape, kind)
    return np.full(shape, np.iinfo(kind).min + 7, kind)


def call(
    function: Any, inputs: Sequence[Array], outputs: Sequence[tuple[Sequence[int], str]], target: Target
) -> list[Array]:
    """Run a PrimFunc on stored inputs; return its outputs as stored."""
    library = build(function, target)
    results = [tvm.runtime.tensor(poison(shape, dtype)) for shape, dtype in outputs]
    library["main"](*[tvm.runtime.tensor(np.asarray(each, order="C")) for each in inputs], *results)
    return [each.numpy() for each in results]


def pack(tensor: TensorType, array: Array) -> Array:
    """Return a logical array as the operand is stored."""
    return tensor.layout.pack(array) if tensor.layout else array


def run_workload(function: Any, work: Workload, inputs: Sequence[Array], target: Target) -> list[Array]:
    """Run a kernel on logical inputs; return logical outputs.

    Their padding must be exactly zero, and they must be the same in the memory of an operand that may be overwritten.
    """
    stored = [pack(tensor, array) for tensor, array in zip(work.inputs, inputs, strict=True)]
    results = call(function, stored, [(each.stored_shape, each.dtype) for each in work.outputs], target)
    for at in in_place_operands(function, work):
        tensors = [tvm.runtime.tensor(np.asarray(each, order="C")) for each in stored]
        build(function, target)["main"](*tensors, tensors[at])
        np.testing.assert_array_equal(tensors[at].numpy(), results[0], err_msg=f"in the memory of operand {at}")
    logical = []
    for tensor, result in zip(work.outputs, results, strict=True):
        plain = tensor.layout.unpack(result, tensor.shape) if tensor.layout else result
        np.testing.assert_array_equal(pack(tensor, plain), result, err_msg="padding is not zero", strict=True)
        logical.append(plain)
    return logical
