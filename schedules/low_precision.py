"""Elements of 16 bits in memory: read as float32, rounded once where they are written, multiplied in pairs.

TVM 0.27 has no bfloat16 in its LLVM code: elements travel as their bits, and what only the machine can do is given as
LLVM IR to import. The scalar operators below vectorize like any other; a kernel carries the text that defines them for
its target in the attribute ``LLVM_IR``.

    tirx.tilewright_bf16_dot(sum float32, a int32, b int32) -> float32    sum + a.low * b.low + a.high * b.high
    tirx.tilewright_bf16_round(x float32) -> uint16                       to nearest, ties to even; NaN stays NaN
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.ir import Op, register_op_attr
from tvm.tirx.script.builder import ir as T

from ..targets.target import Target
from ..workload import LowTensor, Workload

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Expr = Any

#: The attribute of a kernel that holds LLVM IR which its code needs.
LLVM_IR = "llvm_ir"
#: The instruction set that rounds to bfloat16 and multiplies pairs of it, in Linux's spelling.
BF16_FEATURE = "avx512_bf16"
_DOT, _ROUND = "tilewright_bf16_dot", "tilewright_bf16_round"
_LANES = (1, 2, 4, 8, 16)


def dot(total: Expr, a: Expr, b: Expr) -> Expr:
    """Return ``total`` plus the products of two pairs of bfloat16, each pair in an int32."""
    register_operators()
    return tirx.call_intrin("float32", f"tirx.{_DOT}", total, a, b)


def multiplies_pairs(work: Workload, target: Target) -> bool:
    """Return whether a product's two operands are bfloat16 in memory and the target multiplies pairs of them."""
    low = all(isinstance(each, LowTensor) and each.held == "bfloat16" for each in work.inputs[:2])
    return low and BF16_FEATURE in target.features


class LowBuffer:
    """A buffer of 16-bit floats that reads as one of float32.

    Attributes:
        bits: the buffer itself: uint16 for bfloat16, float16 for itself.
        held: the element type in memory.
    """

    dtype = "float32"

    def __init__(self, bits: Any, held: str) -> None:
        self.bits, self.held = bits, held

    @property
    def shape(self) -> Any:
        """The shape, as of any buffer."""
        return self.bits.shape

    def __getitem__(self, indices: Any) -> Expr:
        return _widened(self.bits[indices], self.held)

    def store(self, value: Expr, indices: Sequence[Expr]) -> None:
        """Round a float32 and store it."""
        T.buffer_store(self.bits, _narrowed(value, self.held), list(indices))

    def flat(self, extent: Expr) -> LowBuffer:
        """Return a one-dimensional view."""
        return LowBuffer(T.decl_buffer((extent,), self.bits.dtype, data=self.bits.data), self.held)

    def pairs(self) -> Any:
        """Return the view of neighbouring elements of the last dimension, which is even, as one int32."""
        *outer, last = self.bits.shape
        return T.decl_buffer((*outer, last // 2), "int32", data=self.bits.data)


def memory_type(dtype: str) -> str:
    """Return the element type of the buffer that holds elements of a low-precision type."""
    return "uint16" if dtype == "bfloat16" else dtype


def store_element(buffer: Any, value: Expr, indices: Sequence[Expr]) -> None:
    """Store a value into a kernel's buffer, whatever its elements are in memory."""
    if isinstance(buffer, LowBuffer):
        buffer.store(value, indices)
    else:
        T.buffer_store(buffer, value, list(indices))


def element_of(buffer: Any, indices: Sequence[Expr]) -> Expr:
    """Return the load by which an element's address is taken."""
    return (buffer.bits if isinstance(buffer, LowBuffer) else buffer)[tuple(indices)]


def _lanes_of(value: Expr) -> str:
    """Return the vector suffix of an expression's type: "x16", or "" for a scalar."""
    lanes = _lane_count(value)
    return f"x{lanes}" if lanes > 1 else ""


def _lane_count(value: Expr) -> int:
    """Return how many lanes an expression has."""
    text = str(value.ty.dtype).partition("x")[2]
    return int(text) if text else 1


def _widened(value: Expr, held: str) -> Expr:
    lanes = _lanes_of(value)
    if held != "bfloat16":
        return value.astype(f"float32{lanes}")
    shift = tirx.const(16, "uint32") if not lanes else tirx.Broadcast(tirx.const(16, "uint32"), int(lanes[1:]))
    return tirx.reinterpret(f"float32{lanes}", tirx.shift_left(value.astype(f"uint32{lanes}"), shift))


def _narrowed(value: Expr, held: str) -> Expr:
    lanes = _lanes_of(value)
    if held != "bfloat16":
        return value.astype(f"{held}{lanes}")
    register_operators()
    return tirx.call_intrin(f"uint16{lanes}", f"tirx.{_ROUND}", value)


@cache
def register_operators() -> None:
    """Tell TVM of the operators, once a process."""
    for name, arguments in ((_DOT, 3), (_ROUND, 1)):
        full = f"tirx.{name}"
        register_op_attr(full, "llvm.FLowerIntrinsic", _call_of(name))
        register_op_attr(full, "TCallEffectKind", 1)  # pure; an IntImm here ends the process
        register_op_attr(full, "TVectorizable", True)
        register_op_attr(full, "TScriptPrinterName", name)
        Op.get(full).set_num_inputs(arguments)


def _call_of(name: str) -> Callable[[Expr], Expr]:
    def lower(call: Expr) -> Expr:
        return tirx.call_pure_extern(str(call.ty.dtype), f"{name}_x{_lane_count(call)}", *call.args)

    return lower


def with_instructions(kernel: PrimFunc, target: Target) -> PrimFunc:
    """Return a kernel with the LLVM IR that the operators of this module need."""
    return kernel.with_attr(LLVM_IR, llvm_ir(target))


def llvm_ir(target: Target) -> str:
    """Return the functions behind the operators for every width of vectors, by the target's instructions or without.

    An instruction that the target lacks would end the compiler's process, so the text is chosen by its features.
    """
    native = BF16_FEATURE in target.features
    return "\n".join(part for lanes in _LANES for part in (_dot_text(lanes, native), _round_text(lanes, native)))


def _typed(lanes: int, scalar: str) -> str:
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def _splat(lanes: int, value: int) -> str:
    return str(value) if lanes == 1 else f"splat (i32 {value})"


def _dot_text(lanes: int, native: bool) -> str:
    f, i, pairs = _typed(lanes, "float"), _typed(lanes, "i32"), f"<{2 * lanes} x bfloat>"
    head = f"define weak_odr hidden {f} @{_DOT}_x{lanes}({f} %s, {i} %a, {i} %b) alwaysinline {{\n"
    if native and lanes >= 4:
        name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * lanes}"
        return (
            f"declare {f} @{name}({f}, {pairs}, {pairs})\n{head}"
            f"  %x = bitcast {i} %a to {pairs}\n  %y = bitcast {i} %b to {pairs}\n"
            f"  %r = call {f} @{name}({f} %s, {pairs} %x, {pairs} %y)\n  ret {f} %r\n}}\n"
        )
    name = "llvm.fma." + ("f32" if lanes == 1 else f"v{lanes}f32")
    casts = "".join(f"  %{each}f = bitcast {i} %{each} to {f}\n" for each in ("al", "bl", "ah", "bh"))
    return (
        f"declare {f} @{name}({f}, {f}, {f})\n{head}"
        f"  %al = shl {i} %a, {_splat(lanes, 16)}\n  %bl = shl {i} %b, {_splat(lanes, 16)}\n"
        f"  %ah = and {i} %a, {_splat(lanes, -65536)}\n  %bh = and {i} %b, {_splat(lanes, -65536)}\n{casts}"
        f"  %t = call {f} @{name}({f} %alf, {f} %blf, {f} %s)\n"
        f"  %r = call {f} @{name}({f} %ahf, {f} %bhf, {f} %t)\n  ret {f} %r\n}}\n"
    )


def _round_text(lanes: int, native: bool) -> str:
    f, i, h, b = (_typed(lanes, each) for each in ("float", "i32", "i16", "bfloat"))
    head = f"define weak_odr hidden {h} @{_ROUND}_x{lanes}({f} %x) alwaysinline {{\n"
    if native:
        return f"{head}  %r = fptrunc {f} %x to {b}\n  %h = bitcast {b} %r to {h}\n  ret {h} %h\n}}\n"
    flag, zero = _typed(lanes, "i1"), "0.0" if lanes == 1 else "zeroinitializer"
    return (
        f"{head}  %i = bitcast {f} %x to {i}\n  %s = lshr {i} %i, {_splat(lanes, 16)}\n"
        f"  %l = and {i} %s, {_splat(lanes, 1)}\n  %c = add {i} %l, {_splat(lanes, 32767)}\n"
        f"  %r = add {i} %i, %c\n  %q = or {i} %i, {_splat(lanes, 4194304)}\n"
        f"  %n = fcmp uno {f} %x, {zero}\n  %v = select {flag} %n, {i} %q, {i} %r\n"
        f"  %u = lshr {i} %v, {_splat(lanes, 16)}\n  %h = trunc {i} %u to {h}\n  ret {h} %h\n}}\n"
    )
