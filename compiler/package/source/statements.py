"""Print lowered kernels: loops, branches, stores, and the scratch that they allocate."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....dims import upper
from ....schedules.symbols import is_symbol
from ....tvm_names import dim_of
from ..lowering import STACK_BYTES, aligned, itemsize
from .dialect import C_WORDS, Dialect
from .expressions import Printer, dtype_of

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Stmt = Any
_SCRATCH = "scratch"
#: Arrays of one thread of a device up to this size; larger ones fill the device's memory.
_PRIVATE_BYTES = 4096


@dataclass(frozen=True)
class Text:
    """A printed function.

    Attributes:
        source: its definition.
        scratch: bytes of scratch that it takes as its last argument; 0 when it takes none.
        bits: pairs of types between which it reads bits.
        launch: threads of each dimension, by TVM's thread tag.
    """

    source: str
    scratch: int
    bits: frozenset[tuple[str, str]]
    launch: dict[str, int]


def print_kernel(function: PrimFunc, symbol: str, dialect: Dialect, stack_bytes: int = STACK_BYTES) -> Text:
    """Print a lowered kernel: its buffers as pointers, then its symbols, then its scratch where it needs some.

    Raises UserError for what the language cannot say.
    """
    writer = Writer(dialect, symbol, stack_bytes)
    parameters = writer.parameters(function)
    writer.statement(function.body)
    return Text(writer.definition(symbol, parameters), writer.used_scratch, frozenset(writer.used_bits), writer.launch)


def _memory(dialect: Dialect, scope: str) -> str:
    word = dialect.memory[scope]
    return f"{word} " if word else ""


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text) is not None


def _stored(body: Stmt) -> set[str]:
    """Return the names of the parameters that a kernel stores into, through views or not, or hands to a function."""
    import tvm_ffi
    from tvm import tirx
    from tvm.ir import Call

    behind: dict[Any, Any] = {}
    written: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, tirx.DeclBuffer):
            behind[node.buffer] = _source_of(node)
        elif isinstance(node, tirx.BufferStore):
            written.append(node.buffer)
        elif isinstance(node, Call) and str(node.op.name).endswith("address_of"):
            written.append(node.args[0].source)

    tvm_ffi.structural_walk(body, (object, visit))
    names = set()
    for each in written:
        while each in behind and behind[each] is not None:
            each = behind[each]
        names.add(str(each.name))
    return names


def _source_of(declaration: Any) -> Any:
    """Return the buffer that a view looks at; None for a view of anything else."""
    from tvm.ir import Call

    data = declaration.data
    is_buffer = isinstance(data, Call) and str(data.op.name).endswith("buffer_data")
    return data.args[0] if is_buffer else None


class Writer(Printer):
    """Prints statements.

    Attributes:
        used_scratch: bytes of scratch that allocations took.
        launch: threads of each dimension.
        in_threads: whether what is printed runs in many threads, which share no scratch.
    """

    def __init__(self, dialect: Dialect, kernel: str, stack_bytes: int) -> None:
        super().__init__(dialect, kernel)
        self.names = type(self.names)([*C_WORDS, *dialect.words, _SCRATCH])
        self.used_scratch = 0
        self.stack_bytes = stack_bytes
        self.launch: dict[str, int] = {}
        self.in_threads = False

    def parameters(self, function: PrimFunc) -> list[tuple[str, str]]:
        """Name the parameters; return the declaration and the name of each."""
        stored = _stored(function.body)
        found = []
        for each in function.params:
            name = self.names.fresh(str(each.name))
            if is_symbol(each):
                self.known[each] = name
                found.append((f"{self.type_name('int64')} {name}", name))
                continue
            held = str(each.dtype)
            self.views[each] = (name, held)
            const = "" if str(each.name) in stored else "const "
            found.append((self._pointer(f"{const}{self.type_name(held)}", name), name))
        return found

    def definition(self, symbol: str, parameters: list[tuple[str, str]], scratch: bool | None = None) -> str:
        """Return the function whose body has been printed.

        Args:
            scratch: whether it takes scratch; None for where it used some.
        """
        if self.used_scratch if scratch is None else scratch:
            parameters = [*parameters, (self._pointer(self.type_name("uint8"), _SCRATCH), _SCRATCH)]
        body = "\n".join(self.lines)
        unused = "".join(f"  (void){name};\n" for _, name in parameters if not _mentions(body, name))
        listed = ", ".join(text for text, _ in parameters) or "void"
        return f"{self.dialect.kernel} {symbol}({listed}) {{\n{unused}{body}\n}}\n"

    def _pointer(self, kind: str, name: str) -> str:
        return f"{_memory(self.dialect, 'global')}{kind}* {self.dialect.restrict} {name}"

    def statement(self, statement: Stmt) -> None:
        """Print a statement."""
        kind = type(statement).__name__
        if kind not in _STATEMENTS:
            raise self.refuse(f"the statement {kind}")
        _STATEMENTS[kind](self, statement)

    def block(self, head: str, body: Stmt, tail: str = "}") -> None:
        """Print a statement in braces."""
        self.line(head)
        self.depth += 1
        self.statement(body)
        self.depth -= 1
        self.line(tail)

    def allocate(self, allocation: Any) -> None:
        """Small arrays are variables, large ones a place in the scratch: one for all iterations of loops around."""
        buffer = allocation.buffer
        dtype, scope = str(buffer.dtype), str(buffer.scope())
        elements = upper(math.prod(map(dim_of, buffer.shape)))
        size = elements * itemsize(dtype)
        name = self.names.fresh(str(buffer.name))
        self.views[buffer] = (name, dtype)
        kind = self.type_name(dtype)
        if self.in_threads and size > _PRIVATE_BYTES and scope != "shared":
            raise self.refuse(f"an array of {size} bytes in every thread")
        if size <= self.stack_bytes or scope in ("shared", "local") or self.in_threads:
            self.line(f"{_memory(self.dialect, scope if scope == 'shared' else 'local')}{kind} {name}[{elements}];")
            return
        word = _memory(self.dialect, "global")
        self.line(f"{word}{kind}* const {name} = ({word}{kind}*)({word}void*)({_SCRATCH} + {self.used_scratch});")
        self.used_scratch = aligned(self.used_scratch + size)


def _sequence(writer: Writer, statement: Stmt) -> None:
    for each in statement.seq:
        writer.statement(each)


def _for(writer: Writer, loop: Any) -> None:
    kind = writer.type_name(dtype_of(loop.loop_var))
    begin, extent = writer.expression(loop.min), writer.expression(loop.extent)
    name = writer.names.fresh(str(loop.loop_var.name))
    writer.known[loop.loop_var] = name
    end = extent if begin == "0" else f"{begin} + {extent}"
    writer.block(f"for ({kind} {name} = {begin}; {name} < {end}; ++{name}) {{", loop.body)


def _while(writer: Writer, loop: Any) -> None:
    writer.line("for (;;) {")
    writer.depth += 1
    writer.line(f"if (!({writer.expression(loop.condition)})) break;")
    writer.statement(loop.body)
    writer.depth -= 1
    writer.line("}")


def _if(writer: Writer, statement: Any) -> None:
    condition = writer.expression(statement.condition)
    otherwise = statement.else_case
    writer.block(f"if ({condition}) {{", statement.then_case, "}" if otherwise is None else "} else {")
    if otherwise is not None:
        writer.depth += 1
        writer.statement(otherwise)
        writer.depth -= 1
        writer.line("}")


def _bind(writer: Writer, statement: Any) -> None:
    value = writer.expression(statement.value)
    name = writer.names.fresh(str(statement.var.name))
    writer.line(f"const {writer.type_name(dtype_of(statement.var))} {name} = {value};")
    writer.known[statement.var] = name


def _store(writer: Writer, statement: Any) -> None:
    (index,) = statement.indices
    name, held = writer.views[statement.buffer]
    value = writer.expression(statement.value)
    if type(index).__name__ == "Ramp":
        if writer.dialect.store is None or int(index.stride.value) != 1:
            raise writer.refuse("a store of elements that are not neighbours")
        writer.line(
            writer.dialect.store(int(index.lanes.value), value, f"{name} + {writer.expression(index.base)}") + ";"
        )
        return
    if dtype_of(statement.value) != held and held != "bool":
        value = f"({writer.type_name(held)}){value}"
    writer.line(f"{name}[{writer.expression(index)}] = {value};")


def _view(writer: Writer, declaration: Any) -> None:
    source = _source_of(declaration)
    buffer = declaration.buffer
    if source is None:
        raise writer.refuse("a view of something that is no buffer")
    name, held = writer.views[source]
    dtype = str(buffer.dtype)
    if dtype != held:
        raise writer.refuse(f"a view of {held} as {dtype}")
    writer.views[buffer] = (name, held)


def _attribute(writer: Writer, statement: Any) -> None:
    if statement.attr_key == "thread_extent":
        tag = str(statement.node.thread_tag)
        if tag not in writer.dialect.threads:
            raise writer.refuse(f"the thread index {tag}")
        writer.launch[tag] = int(statement.value.value)
        writer.known[statement.node.var] = writer.dialect.threads[tag]
    writer.statement(statement.body)


def _evaluate(writer: Writer, statement: Any) -> None:
    if not hasattr(statement.value, "op"):
        return  # a constant: what is left of a statement that did nothing
    text = writer.expression(statement.value)
    if text:
        writer.line(f"{text};")


_STATEMENTS: dict[str, Callable[[Writer, Any], None]] = {
    "SeqStmt": _sequence,
    "For": _for,
    "While": _while,
    "IfThenElse": _if,
    "Bind": _bind,
    "BufferStore": _store,
    "AllocBuffer": lambda writer, statement: writer.allocate(statement),
    "DeclBuffer": _view,
    "AttrStmt": _attribute,
    "Evaluate": _evaluate,
}
