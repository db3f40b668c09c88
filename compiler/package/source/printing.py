"""From scheduled kernels to texts in the language of their target."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..helpers import Request
from ..lowering import lower_for_text
from .c11 import C11
from .cuda import CUDA
from .dialect import Dialect
from .launches import Launch, print_launches
from .opencl import OPENCL
from .statements import print_kernel

#: The language of each kind of target whose kernels are text.
PRINTED: Mapping[str, Dialect] = {"c": C11, "opencl": OPENCL, "cuda": CUDA}


@dataclass(frozen=True)
class Printed:
    """A kernel's text and what its package needs to know of it.

    Attributes:
        source: the definitions.
        scratch: bytes of scratch.
        bits: pairs of types (from, to) between which it reads bits.
        launches: on a device, what runs.
        operands: on a device, the bytes of its operands.
    """

    source: str
    scratch: int
    bits: tuple[tuple[str, str], ...] = ()
    launches: tuple[Launch, ...] = ()
    operands: tuple[int, ...] = ()


def print_all(requests: Sequence[Request], kind: str) -> dict[str, int]:
    """Write the text of every kernel to its path; return the scratch of each symbol."""
    scratch = {}
    for each in requests:
        text = _print(each, PRINTED[kind])
        each.path.write_text(json.dumps(asdict(text)), encoding="utf-8")
        scratch[each.symbol] = text.scratch
    return scratch


def _print(request: Request, dialect: Dialect) -> Printed:
    function = lower_for_text(request.text, request.symbol, request.target, vectors=dialect.load is not None)
    if dialect.threads:
        made = print_launches(function, request.symbol, dialect)
        return Printed(made.source, made.scratch, launches=made.launches, operands=made.operands)
    text = print_kernel(function, request.symbol, dialect)
    return Printed(text.source, text.scratch, tuple(sorted(text.bits)))


def read_printed(path: Path) -> Printed:
    """Return what :func:`print_all` wrote."""
    fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    launches = (Launch(each["function"], tuple(each["grid"]), tuple(each["block"])) for each in fields["launches"])
    bits = ((source, result) for source, result in fields["bits"])
    return Printed(fields["source"], fields["scratch"], tuple(bits), tuple(launches), tuple(fields["operands"]))
