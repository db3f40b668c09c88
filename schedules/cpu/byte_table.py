"""Functions of one byte by permutations of bytes: the table stays in four registers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tvm
from tvm import tirx
from tvm.tirx.script.builder import ir as T

from ...knobs import Knobs
from ...targets.target import Target
from ...workload import Workload
from ..generic.byte_table import each_byte, require_one_layout
from ..kernel import writing
from ..template import NotApplicable, template
from ..vectors import flat_view

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any
_LANES = 64


@template("byte_table", arch="x86", needs=("avx512f", "avx512bw", "avx512vbmi"))
def byte_table_vbmi(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """64 bytes at a time: each half of the table is one ``vpermi2b``, the sign of the index chooses between them."""
    require_one_layout(work)
    if work.epilogue:
        raise NotApplicable
    with writing(work) as kernel:
        data, table, out = map(flat_view, (*kernel.inputs[:2], kernel.outputs[0]))

        def look_up(start: Expr, lanes: int) -> None:
            if lanes < _LANES:
                with T.serial(0, lanes) as lane:
                    index = data[start + lane].astype("int32") & tirx.const(0xFF, "int32")
                    T.buffer_store(out, table[index], [start + lane])
                return
            quarters = [_signed(table[tirx.Ramp(first, 1, _LANES)]) for first in range(0, 4 * _LANES, _LANES)]
            index = _signed(data[tirx.Ramp(start, 1, _LANES)])
            low, high = (_permuted(quarters[at], index, quarters[at + 1]) for at in (0, 2))
            zero = tirx.Broadcast(tirx.const(0, "int8"), _LANES)
            value = tirx.reinterpret(f"{work.output.dtype}x{_LANES}", tirx.Select(tirx.LT(index, zero), high, low))
            T.buffer_store(out, value, [tirx.Ramp(start, 1, _LANES)])

        each_byte(kernel, _LANES, look_up)
    assert kernel.function is not None
    return kernel.function


def _signed(vector: Expr) -> Expr:
    return tirx.reinterpret(f"int8x{_LANES}", vector)


def _permuted(low: Expr, index: Expr, high: Expr) -> Expr:
    name = tvm.target.codegen.llvm_lookup_intrinsic_id("llvm.x86.avx512.vpermi2var.qi.512")
    return tirx.call_llvm_pure_intrin(f"int8x{_LANES}", tirx.const(name, "uint32"), low, index, high)
