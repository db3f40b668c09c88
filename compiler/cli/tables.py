"""Tables on standard output and progress on standard error, for a terminal or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from .text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_PIPE_WIDTH = 10_000


class Show(Protocol):
    """Tells how much is done and, where it changes, at what the program is."""

    def __call__(self, done: float, text: str | None = None) -> None:
        """Say that so much of the total is done."""


def console(*, stderr: bool = False) -> Console:
    """Return a console that reads no markup in what it prints, and does not squeeze tables into a pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; a head that starts with ``>`` stands over numbers, aligned right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        right = head.startswith(">")
        table.add_column(head.lstrip(">"), justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row in rows:
        table.add_row(*map(printable, row))
    _print(table)


def print_pairs(rows: Iterable[Sequence[str]]) -> None:
    """Print names and values, a line each, in columns."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*map(printable, row))
    for column in table.columns:
        column.overflow = "fold"
    _print(table)


def _print(table: Table) -> None:
    """Print a table; in a pipe without the spaces that fill its last column."""
    out = console()
    with out.capture() as capture:
        out.print(table)
    text = capture.get()
    click.echo(text if sys.stdout.isatty() else "\n".join(line.rstrip() for line in text.splitlines()).strip("\n"))


@contextmanager
def progress(description: str, total: float | None, *, quiet: bool) -> Iterator[Show]:
    """Show progress on standard error while the block runs; silent when quiet or when nobody watches.

    Yields a function that takes how much of the total is done and, where it changes, the new description.
    """
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        console=console(stderr=True),
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(printable(description), total=total)

        def show(done: float, text: str | None = None) -> None:
            bar.update(task, completed=done, description=printable(text or description))

        yield show
