"""From a scheduled kernel to an object file whose one function takes raw pointers.

The function is
``int32_t kernel(const void* input, ..., void* output, ...[, int64_t symbol, ...][, void* scratch])``: no packed
arguments, no run-time checks, nothing of TVM's runtime but two function pointers (parallel loops, scratch inside
them). It returns 0, or -1 when scratch inside a parallel loop could not be allocated.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...dims import upper
from ...schedules.low_precision import LLVM_IR, register_operators
from ...schedules.symbols import is_symbol, symbols_of_kernel
from ...tvm_names import dim_of, let_rounding_be_vectorized

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.tirx import AllocBuffer, Buffer, PrimFunc, Stmt, Var

ALIGNMENT = 64
#: Where parts of a device's memory may begin: what OpenCL drivers ask for at the most.
DEVICE_ALIGNMENT = 512

#: Allocations up to this size stay on the stack: LLVM keeps most of them in registers.
STACK_BYTES = 512

#: Features of vectors whose length only the processor knows.
_SCALABLE = ("+v", "+sve", "+sve2")

_BYTES_OF = {"bool": 1}


def itemsize(dtype: str) -> int:
    """Return the bytes of one element, vector lanes included ("float32x16" is 64)."""
    import tvm

    if dtype in _BYTES_OF:
        return _BYTES_OF[dtype]
    kind = tvm.DataType(dtype)
    return int(kind.bits * kind.lanes + 7) // 8


def aligned(size: int, alignment: int = ALIGNMENT) -> int:
    """Return the size rounded up to a multiple of the alignment."""
    return -(-size // alignment) * alignment


def compile_kernel(text: str, symbol: str, target: dict[str, Any], path: Path) -> int:
    """Compile one kernel and return how many bytes of scratch it wants as its last argument (0: it takes none).

    Args:
        text: the scheduled PrimFunc, as ``tvm.ir.save_json`` writes it.
        symbol: the name of the function in the object file.
        target: TVM's target dictionary.
        path: the object file to write.
    """
    import tvm

    let_rounding_be_vectorized()
    kind = tvm.target.Target(target)
    register_operators()
    function = tvm.ir.load_json(text).without_attr("global_symbol")
    module = _lower(tvm.IRModule({symbol: function}), tvm.target.Target(_with_fixed_vectors(target)))
    raw, scratch = _with_raw_pointers(module[symbol], symbol)
    module = _legalize(tvm.IRModule({tvm.ir.GlobalVar(symbol): raw}))
    path.write_bytes(_object_code(tvm.get_global_func("target.build.llvm")(module, kind)))
    return scratch


def _with_fixed_vectors(target: dict[str, Any]) -> dict[str, Any]:
    """Return the target without the features for which TVM makes loops over vectors of unknown length.

    The vectors of a kernel have the lengths that its template chose; LLVM is given the features again.
    """
    return (
        {**target, "mattr": [each for each in target["mattr"] if each not in _SCALABLE]}
        if "mattr" in target
        else target
    )


def _object_code(built: Any) -> bytes:
    """The object file of a built module. LLVM ends the process when a write fails, so it writes to memory."""
    memory = os.memfd_create("object")
    try:
        built.write_to_file(f"/proc/self/fd/{memory}", "o")
        with open(memory, "rb", closefd=False) as file:
            file.seek(0)
            return file.read()
    finally:
        os.close(memory)


def lower_for_text(text: str, symbol: str, target: dict[str, Any], vectors: bool) -> PrimFunc:
    """Return one kernel lowered as far as a language like C can say it, its buffers still parameters.

    Args:
        text: the scheduled PrimFunc, as ``tvm.ir.save_json`` writes it.
        symbol: the name of the function.
        target: TVM's target dictionary.
        vectors: whether the language has vectors; else loops over lanes are loops.
    """
    import tvm
    from tvm import tirx

    let_rounding_be_vectorized()
    function = tvm.ir.load_json(text).without_attr("global_symbol")
    module = _lower(tvm.IRModule({symbol: function}), tvm.target.Target(target), vectors, reuse=False)
    return tirx.transform.LowerIntrin()(module)[symbol]


def _lower(module: IRModule, target: Any, vectors: bool = True, reuse: bool = True) -> IRModule:
    """TVM's pipeline for scheduled functions, up to where it would pack the arguments.

    Args:
        vectors: whether loops over lanes become vectors.
        reuse: whether allocations share memory, which may change their types.
    """
    from tvm import s_tir, tirx, transform

    schedule, tir = s_tir.transform, tirx.transform
    passes = [
        tir.BindTarget(target),
        schedule.CanonicalizeLoop(),
        schedule.LowerCrossThreadReduction(),
        schedule.LowerInitBlock(),
        schedule.PlanAndUpdateBufferAllocationLocation(),
        schedule.ConvertBlocksToOpaque(),
        schedule.CompactBufferAllocation(),
        schedule.LowerMatchBuffer(),
        schedule.StmtSimplify(),
        schedule.AnnotateIrregularLoop(),
        schedule.LowerOpaqueBlock(),
        tir.FlattenBuffer(),
        tir.BF16ComputeLegalize(),
        tir.NarrowDataType(32),
        schedule.LoopPartition(),
        tir.VectorizeLoop(vectors),
        *([tir.StorageRewrite()] if reuse else []),
        schedule.HoistIfThenElse(),
        tir.UnrollLoop(),
        schedule.RenormalizeSplitPattern(),
        tir.StmtSimplify(),
        tir.RemoveNoOp(),
        schedule.RewriteUnsafeSelect(),
        tir.FP8ComputeLegalize(),
        tir.VerifyMemory(),
    ]
    return transform.Sequential(passes)(module)


def _legalize(module: IRModule) -> IRModule:
    """What is left for the code generator.

    Common subexpressions are left to LLVM: TVM's own pass overlooks uses inside a Let and then defines a variable
    behind its first use; without it the code is as fast.
    """
    from tvm import IRModule, tirx, transform

    tir = tirx.transform
    passes = [
        tir.FP8StorageLegalize(),
        tir.BF16StorageLegalize(),
        tir.LowerTVMBuiltin(),
        tir.LowerIntrin(),
    ]
    legal = transform.Sequential(passes)(module)
    functions = legal.functions_items()
    return IRModule({name: function.with_body(_cleaned(function.body)) for name, function in functions})


def _cleaned(body: Stmt) -> Stmt:
    """Return a body of what the code generator understands.

    The bits of a constant zero become the zero of the other type: it takes them for a null pointer, whatever the type.
    Statements that TVM's operators hold together by a pragma stand alone: it warns of every such pragma.
    """
    import tvm_ffi
    from tvm import tirx
    from tvm.ir import Call, Op, PrimType

    reinterpret = Op.get("tirx.reinterpret")

    def replaced(call: Call) -> Any:
        bits = call.args[0] if call.op.same_as(reinterpret) else None
        zero = isinstance(bits, tirx.IntImm) and int(bits.value) == 0 and isinstance(call.ty, PrimType)
        return tirx.const(0, call.ty.dtype) if zero else call

    def freed(held: tirx.AttrStmt) -> Any:
        return held.body if held.attr_key == "pragma_scope" else held

    return tvm_ffi.structural_map(body, [(Call, replaced), (tirx.AttrStmt, freed)])


def _with_raw_pointers(function: PrimFunc, symbol: str) -> tuple[PrimFunc, int]:
    """Return the function over pointers, and the bytes of scratch behind its last one.

    f(A: Buffer, B: Buffer, n): alloc C; body
        -->  f(a*, b*, n, scratch*): A = decl(a); B = decl(b); C = decl(scratch); body
    """
    from tvm import tirx
    from tvm.ir import PointerType, PrimType, StringImm

    symbols = symbols_of_kernel(function)
    buffers = [each for each in function.params if not is_symbol(each)]
    pointers = [tirx.Var(f"{buffer.name}_ptr", _pointer_type(buffer)) for buffer in buffers]
    declared: list[Stmt] = [
        tirx.DeclBuffer(buffer, data=pointer) for buffer, pointer in zip(buffers, pointers, strict=True)
    ]
    pointers += symbols
    scratch = tirx.Var("scratch_ptr", PointerType(PrimType("uint8"), "global"))
    statements, size = _lift_scratch(_flat(function.body), scratch)
    if size:
        pointers.append(scratch)
    body: Stmt = tirx.SeqStmt([*declared, *statements])
    if LLVM_IR in function.attrs:
        body = tirx.AttrStmt(0, "pragma_import_llvm", StringImm(str(function.attrs[LLVM_IR])), body)
    # The lowering of allocations inside parallel loops asks for the device.
    body = tirx.AttrStmt(0, "device_type", 1, tirx.AttrStmt(0, "device_id", 0, body))
    body = tirx.SeqStmt([body, tirx.stmt.Return(tirx.IntImm("int32", 0))])
    raw = tirx.PrimFunc(pointers, body, PrimType("int32"))
    kept = {key: value for key, value in function.attrs.items() if key in ("target", "tirx.noalias")}
    for key, value in {**kept, "global_symbol": symbol, "calling_conv": 0}.items():
        raw = raw.with_attr(key, value)
    return raw, size


def _flat(statement: Stmt) -> list[Stmt]:
    from tvm import tirx

    if isinstance(statement, tirx.SeqStmt):
        return [each for part in statement.seq for each in _flat(part)]
    return [statement]


def _lift_scratch(statements: list[Stmt], scratch: Var) -> tuple[list[Stmt], int]:
    """Turn allocations at the root into places behind the scratch pointer; return the statements and the bytes used."""
    from tvm import ir, tirx

    lifted: list[Stmt] = []
    used = 0
    for statement in statements:
        size = _bytes_of(statement) if isinstance(statement, tirx.AllocBuffer) else 0
        if size <= STACK_BYTES:
            lifted.append(statement)
            continue
        place = tirx.op.handle_add_byte_offset(scratch, used) if used else scratch
        cast = ir.Call(ir.Op.get("tirx.reinterpret"), [place], ret_ty=_pointer_type(statement.buffer))
        lifted.append(tirx.DeclBuffer(statement.buffer, data=cast))
        used = aligned(used + size)
    return lifted, used


def _bytes_of(allocation: AllocBuffer) -> int:
    buffer = allocation.buffer
    return upper(math.prod(map(dim_of, buffer.ty.shape))) * itemsize(str(buffer.ty.dtype))


def _pointer_type(buffer: Buffer) -> Any:
    from tvm import tirx

    return tirx._ffi_api.BufferDataPointerType(buffer)
