"""Print a kernel for a device: each nest of threads at its root becomes a function of its own, a launch.

    alloc t; threads { t = f(a) }; threads { b = g(t) }
        -->   k_0(a, b, scratch) { t = f(a) }; k_1(a, b, scratch) { b = g(t) }

All functions take all operands, so that the launches of a step share one list. What lies at the root and outside of
threads is scratch in the arena.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....schedules.symbols import is_symbol
from ....tvm_names import dim_of
from ..lowering import itemsize
from .dialect import Dialect
from .statements import Writer

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc


@dataclass(frozen=True)
class Launch:
    """A function of the program and its threads, as (x, y, z)."""

    function: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]


@dataclass(frozen=True)
class DeviceText:
    """A printed kernel.

    Attributes:
        source: the definitions of its functions.
        launches: in order.
        scratch: bytes of scratch, the last operand; 0 for none.
        operands: bytes of each operand, scratch left out.
    """

    source: str
    launches: tuple[Launch, ...]
    scratch: int
    operands: tuple[int, ...]


def print_launches(function: PrimFunc, symbol: str, dialect: Dialect) -> DeviceText:
    """Print a lowered kernel whose computations all stand in threads.

    Raises UserError for what the language cannot say, and for sizes that only a run knows.
    """
    shared, nests = _parts(function.body)
    scratch = max((_writer(function, symbol, dialect, shared)[0].used_scratch for _ in nests), default=0)
    sources, launches = [], []
    for number, nest in enumerate(nests):
        writer, parameters = _writer(function, symbol, dialect, shared)
        if any(map(is_symbol, function.params)):
            raise writer.refuse("a size that only a run knows")
        writer.in_threads = True
        writer.statement(nest)
        name = f"{symbol}_{number}" if len(nests) > 1 else symbol
        sources.append(writer.definition(name, parameters, scratch=bool(scratch)))
        launches.append(Launch(name, _threads(writer, "blockIdx"), _threads(writer, "threadIdx")))
    operands = tuple(math.prod(map(dim_of, each.shape)) * itemsize(str(each.dtype)) for each in function.params)
    return DeviceText("\n".join(sources), tuple(launches), scratch, operands)


def _writer(function: PrimFunc, symbol: str, dialect: Dialect, shared: list[Any]) -> tuple[Writer, Any]:
    """Return a writer that knows the parameters and has printed what all nests share."""
    writer = Writer(dialect, symbol, stack_bytes=-1)
    parameters = writer.parameters(function)
    for each in shared:
        writer.statement(each)
    return writer, parameters


def _threads(writer: Writer, kind: str) -> tuple[int, int, int]:
    x, y, z = (writer.launch.get(f"{kind}.{axis}", 1) for axis in "xyz")
    return x, y, z


def _parts(body: Any) -> tuple[list[Any], list[Any]]:
    """Return the declarations at the root and the nests of threads."""
    from tvm import tirx

    shared: list[Any] = []
    nests: list[Any] = []

    def visit(statement: Any) -> None:
        if isinstance(statement, tirx.SeqStmt):
            for each in statement.seq:
                visit(each)
        elif isinstance(statement, (tirx.AllocBuffer, tirx.DeclBuffer)):
            shared.append(statement)
        elif isinstance(statement, tirx.AttrStmt) and statement.attr_key != "thread_extent":
            visit(statement.body)
        elif not _is_nothing(statement):
            nests.append(statement)

    visit(body)
    return shared, nests


def _is_nothing(statement: Any) -> bool:
    from tvm import tirx

    return isinstance(statement, tirx.Evaluate) and isinstance(statement.value, tirx.IntImm)
