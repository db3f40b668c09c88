"""Dump: the module as it stands after a phase, as TVMScript that people and diffs can read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from .files import check_writable, write_text
from .pipeline import PhaseEvent

if TYPE_CHECKING:
    from tvm.ir import IRModule


class Dumper:
    """An observer that writes ``NN-phase.py`` for the phases asked for.

    Phases that leave no module (plan, package) write nothing.

    Args:
        folder: where to; it is made when it does not exist and a phase is wanted.
        names: every phase in order; NN is a phase's place among them.
        wanted: the phases to dump.

    Attributes:
        written: the files, in order.

    Raises:
        UserError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, names: Sequence[str], wanted: Collection[str]) -> None:
        if wanted:
            _make_folder(folder)
        self.folder = folder
        self.names = list(names)
        self.wanted = frozenset(wanted)
        self.written: list[Path] = []

    def __call__(self, event: PhaseEvent) -> None:
        """Write the module of a phase that was asked for."""
        if event.name in self.wanted and event.module is not None:
            path = self.folder / f"{self.names.index(event.name):02}-{event.name}.py"
            write_text(path, f"{_summary(event)}\n{event.module.script()}\n")
            self.written.append(path)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder '{folder}' for dumps: {error.strerror}") from error
    check_writable(folder / "phase.py")


def _summary(event: PhaseEvent) -> str:
    """Return comment lines: how long the phase took, how many functions there are and what ``main`` calls."""
    assert event.module is not None
    calls = _calls(event.module)
    return "\n".join(
        [
            f"# {event.name}: {event.seconds:.3f} s, {len(event.module.functions)} functions",
            f"# main: {sum(calls.values())} calls",
            *(f"#   {count:5} {name}" for name, count in calls.most_common()),
        ]
    )


def _calls(module: IRModule) -> Counter[str]:
    from tvm import relax

    calls: Counter[str] = Counter()

    def visit(expr: object) -> None:
        if isinstance(expr, relax.Call):
            callee = expr.args[0] if getattr(expr.op, "name", "") == "relax.call_tir" else expr.op
            calls[str(getattr(callee, "name_hint", None) or getattr(callee, "name", callee))] += 1

    relax.analysis.post_order_visit(module["main"], visit)
    return calls
