"""``tilewright profile``: time per step beside this machine's ceiling, as a table or a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from ...runtime import StepTime
from ..files import check_writable, write_text
from ..measure.page import html_page
from ..measure.profile import Profile, profile
from ..tensors import make_tensors
from .options import PATH
from .remote import open_remote, remote_options
from .state import State, common_options
from .tables import print_table, progress
from .text import duration, printable


@click.command(
    epilog="""\b
Examples:
  tilewright profile model.so
  tilewright profile model.so --top 10 --threads 1
  tilewright profile model.so --html profile.html

The ceiling is measured on this machine each time, with the same number of threads: multiply-adds a second, and
bytes a second from working sets of many sizes. Operations are those of the operator's definition."""
)
@click.argument("library", type=PATH)
@click.option("--threads", type=click.IntRange(0), default=1, show_default=True, help="Threads; 0: one per processor.")
@click.option("--repeat", type=click.IntRange(1), default=20, show_default=True, help="Runs to take medians of.")
@click.option("--top", type=click.IntRange(1), metavar="N", help="Print the N heaviest steps only.")
@click.option("--html", type=PATH, help="Write one self-contained HTML page.")
@remote_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, times in seconds.")
@common_options
@click.pass_obj
def command(
    state: State,
    library: Path,
    threads: int,
    repeat: int,
    top: int | None,
    html: Path | None,
    remote: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Show where the time of LIBRARY goes, the heaviest step first."""
    if remote:
        if html:
            raise click.UsageError("--html shows this machine's ceiling: leave it out with --remote")
        with open_remote(library, remote, key, threads) as board:
            steps = board.profile(make_tensors(board.inputs), repeat)
        _print_steps(board.name, steps, top, as_json)
        return
    if html:
        check_writable(html)
    with progress(f"profiling {library.name}", None, quiet=state.quiet):
        result = profile(library, runs=repeat, threads=threads)
    if html:
        write_text(html, html_page(result))
    if as_json:
        click.echo(json.dumps(asdict(result), indent=2))
    elif not (html and state.quiet):
        _print(result, top)


def _print_steps(name: str, steps: Sequence[StepTime], top: int | None, as_json: bool) -> None:
    """Print the steps of a board, the slowest first; its ceiling is not known here."""
    order = sorted(enumerate(steps), key=lambda pair: -pair[1].seconds)
    if as_json:
        click.echo(json.dumps([{"index": index, **asdict(step)} for index, step in order], indent=2))
        return
    total = sum(step.seconds for step in steps)
    click.echo(f"{printable(name)}: {duration(total)} in {len(steps)} steps")
    print_table(
        (">step", "operators", ">time", ">share", ">GFLOP/s", "kernel"),
        (
            (
                str(index),
                step.name,
                duration(step.seconds),
                f"{step.seconds / total:.1%}" if total else "",
                f"{step.flops / step.seconds * 1e-9:.2f}" if step.flops and step.seconds else "",
                step.kernel,
            )
            for index, step in order[:top]
        ),
    )


def _print(result: Profile, top: int | None) -> None:
    ceiling = result.ceiling
    click.echo(
        f"{printable(result.name)}: {duration(result.seconds)} in {len(result.steps)} steps, {result.runs} runs; "
        f"this machine with {ceiling.threads} thread(s): {ceiling.flops * 1e-9:.0f} GFLOP/s, "
        f"{ceiling.bandwidths[-1][1] * 1e-9:.0f} GB/s from memory"
    )
    print_table(
        (">step", "operators", ">time", ">share", ">GFLOP/s", ">GB/s", ">ceiling", "bound", "kernel"),
        (
            (
                str(step.index),
                step.name,
                duration(step.seconds),
                f"{step.share:.1%}",
                f"{step.flops / step.seconds * 1e-9:.1f}" if step.flops and step.seconds else "",
                f"{step.bytes / step.seconds * 1e-9:.1f}" if step.bytes and step.seconds else "",
                f"{step.ceiling:.0%}" if step.bound else "",
                step.bound,
                step.kernel,
            )
            for step in result.steps[:top]
        ),
    )
