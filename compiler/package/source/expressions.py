"""Print TIR expressions. What needs a statement first (a bound value, a branch that guards a load) goes before."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ....errors import UserError
from .dialect import Dialect
from .names import Names

if TYPE_CHECKING:
    from tvm.ir import Call

Expr = Any

#: Operators between two operands, by the node's class.
_INFIX = {
    "Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "Mod": "%", "LT": "<", "LE": "<=", "GT": ">", "GE": ">=",
    "EQ": "==", "NE": "!=", "And": "&&", "Or": "||", "BitwiseAnd": "&", "BitwiseOr": "|", "BitwiseXor": "^",
    "LShift": "<<", "RShift": ">>",
}  # fmt: skip
_INFIX_CALLS = {"bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^", "shift_right": ">>"}
#: Zeros at the end of a hexadecimal fraction, and the point where nothing else follows it.
_TRAILING = re.compile(r"\.?0*(?=p)")
#: A name or a number, which can be written twice.
_ATOM = re.compile(r"[A-Za-z_]\w*|\(?-?[0-9][0-9a-fx.p+-]*[fuL]*\)?")
_NARROW = ("int8", "uint8", "int16", "uint16")
_LOGICAL = ("LT", "LE", "GT", "GE", "EQ", "NE", "And", "Or", "Not")


def dtype_of(expr: Expr) -> str:
    """Return the element type of an expression."""
    return str(expr.ty.dtype)


def lanes_of(dtype: str) -> int:
    """Return the lanes of an element type: 4 for "float32x4"."""
    return int(dtype.rpartition("x")[2]) if "x" in dtype else 1


class Printer:
    """Prints expressions into a list of lines.

    Attributes:
        lines: the statements so far, indented.
        depth: the present indentation.
        known: names of variables.
        views: the name and element type of the pointer behind each buffer.
        used_bits: pairs of types between which bits were read.
    """

    def __init__(self, dialect: Dialect, kernel: str) -> None:
        self.dialect, self.kernel = dialect, kernel
        self.lines: list[str] = []
        self.depth = 1
        self.names = Names(dialect.words)
        self.known: dict[Expr, str] = {}
        self.views: dict[Expr, tuple[str, str]] = {}
        self.used_bits: set[tuple[str, str]] = set()

    def line(self, text: str) -> None:
        """Add a statement."""
        self.lines.append("  " * self.depth + text)

    def refuse(self, what: str) -> UserError:
        """Return the error for what the language cannot say."""
        return UserError(
            f"kernel {self.kernel}: {what} has no form in {self.dialect.name}; compile the model for another target"
        )

    def type_name(self, dtype: str) -> str:
        """Return the language's name of a type."""
        try:
            return self.dialect.type_name(dtype)
        except KeyError:
            raise self.refuse(f"the element type {dtype}") from None

    def expression(self, expr: Expr) -> str:
        """Return the text of an expression; statements that it needs are added first."""
        kind = type(expr).__name__
        if kind in _INFIX:
            return self._infix(kind, expr)
        printer = _PRINTERS.get(kind)
        if printer is None:
            raise self.refuse(f"the expression {kind}")
        return printer(self, expr)

    def named(self, expr: Expr, wish: str = "t") -> str:
        """Return a name or number for an expression, so that it can be written twice."""
        text = self.expression(expr)
        if _ATOM.fullmatch(text):
            return text
        name = self.names.fresh(wish)
        self.line(f"const {self.type_name(dtype_of(expr))} {name} = {text};")
        return name

    def _infix(self, kind: str, expr: Expr) -> str:
        if kind in ("And", "Or"):
            return self._short_circuit(kind, expr)
        dtype = dtype_of(expr)
        if kind == "Mod" and dtype.startswith("float"):
            raise self.refuse("the remainder of floats")
        if kind == "LShift":
            return self.shifted_left(expr.a, expr.b)
        text = f"({self.expression(expr.a)} {_INFIX[kind]} {self.expression(expr.b)})"
        # Arithmetic of less than 32 bits is done in int: what it loses is lost by a cast.
        return f"(({self.type_name(dtype)}){text})" if dtype in _NARROW and kind not in _LOGICAL else text

    def shifted_left(self, value: Expr, places: Expr) -> str:
        """Signed numbers are shifted as unsigned ones: bits that leave at the top are no overflow then."""
        dtype = dtype_of(value)
        text = f"{self.expression(value)}"
        if dtype.startswith("int"):
            unsigned, signed = self.type_name(f"u{dtype}"), self.type_name(dtype)
            convert = "as_" if lanes_of(dtype) > 1 else ""
            text = f"{convert}{unsigned}({text})" if convert else f"({unsigned}){text}"
            made = f"({text} << {self.expression(places)})"
            return f"as_{signed}{made}" if convert else f"(({signed}){made})"
        return f"({text} << {self.expression(places)})"

    def _short_circuit(self, kind: str, expr: Expr) -> str:
        """The right operand is evaluated when the left one asks for it, with the statements it needs."""
        left = self.expression(expr.a)
        before = len(self.lines)
        self.depth += 1
        right = self.expression(expr.b)
        self.depth -= 1
        needed = self.lines[before:]
        if not needed:
            return f"({left} {_INFIX[kind]} {right})"
        del self.lines[before:]
        name = self.names.fresh("test")
        self.line(f"{self.type_name('bool')} {name} = {left};")
        self.line(f"if ({'' if kind == 'And' else '!'}{name}) {{")
        self.lines += [*needed, "  " * (self.depth + 1) + f"{name} = {right};"]
        self.line("}")
        return name

    def guarded(self, condition: Expr, then: Expr, otherwise: Expr, dtype: str) -> str:
        """Return an expression of which only the branch taken is evaluated."""
        test = self.expression(condition)
        before = len(self.lines)
        texts = []
        needed = []
        for branch in (then, otherwise):
            self.depth += 1
            texts.append(self.expression(branch))
            self.depth -= 1
            needed.append(self.lines[before:])
            del self.lines[before:]
        if not any(needed):
            return f"({test} ? {texts[0]} : {texts[1]})"
        name = self.names.fresh("chosen")
        self.line(f"{self.type_name(dtype)} {name};")
        for head, lines, text in zip((f"if ({test}) {{", "} else {"), needed, texts, strict=True):
            self.line(head)
            self.lines += [*lines, "  " * (self.depth + 1) + f"{name} = {text};"]
        self.line("}")
        return name

    def pointer(self, buffer: Expr, index: Expr) -> str:
        """Return the address of an element."""
        return f"{self.views[buffer][0]} + {self.expression(index)}"

    def read_bits(self, value: Expr, dtype: str) -> str:
        """Return the bits of a value as another type."""
        source = dtype_of(value)
        if source == dtype:
            return self.expression(value)
        self.used_bits.add((source, dtype))
        return self.dialect.bits(source, dtype, self.expression(value))

    def function(self, name: str, dtype: str) -> str:
        """Return the language's function for an operator on a type."""
        element = dtype.partition("x")[0]
        found = self.dialect.functions.get(name, "")
        if found and element != "float32":
            found = self.dialect.overloads(found, element)
        if not found:
            raise self.refuse(f"the operator {name} on {dtype}")
        return found


def float_text(value: float, dtype: str) -> str:
    """Return a literal with exactly this value: hexadecimal where decimal digits would round."""
    suffix = "f" if dtype == "float32" else ""
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "(-INFINITY)"
    if dtype == "float32":
        value = struct.unpack("f", struct.pack("f", value))[0]
    text = f"{value!r}" if value == int(value) and abs(value) < 1e6 else _TRAILING.sub("", value.hex())
    return f"({text}{suffix})" if value < 0 or text.startswith("-") else f"{text}{suffix}"


def _int(printer: Printer, expr: Expr) -> str:
    value, dtype = int(expr.value), dtype_of(expr)
    if dtype == "int64":
        # The most negative number has no literal of its own.
        long = printer.dialect.long_suffix
        least = value == -(1 << 63)
        return f"({value + 1}{long} - 1)" if least else f"{value}{long}" if value >= 0 else f"({value}{long})"
    if dtype == "int32" and value == -(1 << 31):
        return f"({value + 1} - 1)"
    suffix = {"uint64": f"U{printer.dialect.long_suffix}", "uint32": "u"}.get(dtype, "")
    return f"({value})" if value < 0 else f"{value}{suffix}"


def _float(printer: Printer, expr: Expr) -> str:
    dtype = dtype_of(expr)
    text = float_text(float(expr.value), "float32" if dtype in ("float16", "bfloat16") else dtype)
    return text if dtype in ("float32", "float64") else f"(({printer.type_name(dtype)}){text})"


def _var(printer: Printer, expr: Expr) -> str:
    return printer.known[expr]


def _cast(printer: Printer, expr: Expr) -> str:
    source, dtype = dtype_of(expr.value), dtype_of(expr)
    value = printer.expression(expr.value)
    if dtype == "bool":
        return f"({value} != 0)"
    if lanes_of(dtype) > 1:
        return f"convert_{printer.type_name(dtype)}({value})"
    return value if source == dtype else f"(({printer.type_name(dtype)}){value})"


def _extreme(sign: str) -> Callable[[Printer, Expr], str]:
    def build(printer: Printer, expr: Expr) -> str:
        a, b = printer.named(expr.a), printer.named(expr.b)
        return f"({a} {sign} {b} ? {a} : {b})"

    return build


def _not(printer: Printer, expr: Expr) -> str:
    return f"!({printer.expression(expr.a)})"


def _select(printer: Printer, expr: Expr) -> str:
    parts = (printer.expression(each) for each in (expr.condition, expr.true_value, expr.false_value))
    condition, then, otherwise = parts
    return f"({condition} ? {then} : {otherwise})"


def _let(printer: Printer, expr: Expr) -> str:
    value = printer.expression(expr.value)
    name = printer.names.fresh(str(expr.var.name))
    printer.line(f"const {printer.type_name(dtype_of(expr.var))} {name} = {value};")
    printer.known[expr.var] = name
    return printer.expression(expr.body)


def _load(printer: Printer, expr: Expr) -> str:
    (index,) = expr.indices
    name, held = printer.views[expr.source]
    if type(index).__name__ == "Ramp":
        lanes = lanes_of(dtype_of(expr))
        if printer.dialect.load is None or int(index.stride.value) != 1:
            raise printer.refuse("a load of elements that are not neighbours")
        return printer.dialect.load(lanes, f"{name} + {printer.expression(index.base)}")
    text = f"{name}[{printer.expression(index)}]"
    return f"({text} != 0)" if held == "bool" else text


def _broadcast(printer: Printer, expr: Expr) -> str:
    return f"(({printer.type_name(dtype_of(expr))})({printer.expression(expr.value)}))"


def _call(printer: Printer, call: Call) -> str:
    name = str(call.op.name).rpartition(".")[2]
    if name == "shift_left":
        return printer.shifted_left(*call.args)
    if name in _INFIX_CALLS:
        left, right = map(printer.expression, call.args)
        return f"({left} {_INFIX_CALLS[name]} {right})"
    if name in _CALLS:
        return _CALLS[name](printer, call)
    operands = ", ".join(map(printer.expression, call.args))
    return f"{printer.function(name, dtype_of(call))}({operands})"


def _extern(printer: Printer, call: Call) -> str:
    name = str(call.args[0].value)
    operands = ", ".join(map(printer.expression, call.args[1:]))
    known = {f"{function}f": (function, "float32") for function in printer.dialect.functions}
    known |= {function: (function, "float64") for function in printer.dialect.functions}
    if name in known:
        return f"{printer.function(*known[name])}({operands})"
    if name.startswith("tw_"):
        return f"{name}({operands})"
    raise printer.refuse(f"the function {name}")


def _address(printer: Printer, call: Call) -> str:
    (load,) = call.args
    return f"({printer.pointer(load.source, load.indices[0])})"


_CALLS: dict[str, Callable[[Printer, Any], str]] = {
    "reinterpret": lambda printer, call: printer.read_bits(call.args[0], dtype_of(call)),
    "if_then_else": lambda printer, call: printer.guarded(call.args[0], call.args[1], call.args[2], dtype_of(call)),
    "likely": lambda printer, call: printer.expression(call.args[0]),
    "bitwise_not": lambda printer, call: f"(~{printer.expression(call.args[0])})",
    "isnan": lambda printer, call: f"({printer.named(call.args[0])} != {printer.named(call.args[0])})",
    "call_extern": _extern,
    "call_pure_extern": _extern,
    "address_of": _address,
    "tvm_storage_sync": lambda printer, call: printer.dialect.barrier,
}

_PRINTERS: dict[str, Callable[[Printer, Any], str]] = {
    "IntImm": _int,
    "FloatImm": _float,
    "Var": _var,
    "Cast": _cast,
    "Min": _extreme("<"),
    "Max": _extreme(">"),
    "Not": _not,
    "Select": _select,
    "Let": _let,
    "TensorLoad": _load,
    "Broadcast": _broadcast,
    "Call": _call,
}
