"""From scheduled kernels to texts in the language of their target."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..helpers import Request
from ..lowering import lower_for_text
from .c11 import C11
from .dialect import Dialect
from .statements import Text, print_kernel

#: The language of each kind of target whose kernels are text.
PRINTED: dict[str, Dialect] = {"c": C11}


@dataclass(frozen=True)
class Printed:
    """A kernel's text and what its package needs to know of it.

    Attributes:
        source: the definition.
        bits: pairs of types (from, to) between which it reads bits.
    """

    source: str
    bits: tuple[tuple[str, str], ...]


def print_all(requests: Sequence[Request], kind: str) -> dict[str, int]:
    """Write the text of every kernel to its path; return the scratch of each symbol."""
    dialect = PRINTED[kind]
    scratch = {}
    for each in requests:
        function = lower_for_text(each.text, each.symbol, each.target, vectors=dialect.load is not None)
        text = print_kernel(function, each.symbol, dialect)
        each.path.write_text(json.dumps(asdict(_printed(text))), encoding="utf-8")
        scratch[each.symbol] = text.scratch
    return scratch


def _printed(text: Text) -> Printed:
    return Printed(text.source, tuple(sorted(text.bits)))


def read_printed(path: Path) -> Printed:
    """Return what :func:`print_all` wrote."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    return Printed(fields["source"], tuple((source, result) for source, result in fields["bits"]))
