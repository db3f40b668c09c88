"""``tilewright runner``: the program that runs libraries on a board."""

from __future__ import annotations

from pathlib import Path

import click

from ...targets.database import load_target
from .options import PATH
from .state import State, common_options
from .text import size


@click.command(
    epilog="""\b
Examples:
  tilewright runner --target rpi4
  TILEWRIGHT_KEY=... ./tilewright-runner serve -a 0.0.0.0         on the board
  tilewright run model.so --remote board --key ...                on this machine"""
)
@click.option("--target", default="host", show_default=True, help="A name of 'tilewright targets', or a target file.")
@click.option("-o", "--output", type=PATH, default=Path("tilewright-runner"), show_default=True, help="Where to write.")
@click.option("--toolchain", help="What links: native, a GNU triple, zig, zig:musl or zig:2.17 (glibc).")
@common_options
@click.pass_obj
def command(state: State, target: str, output: Path, toolchain: str | None) -> None:
    """Build tilewright-runner, which runs libraries on a board from files or for --remote."""
    from ..package.runner import build_runner

    path = build_runner(load_target(target), output, toolchain)
    if not state.quiet:
        click.echo(f"written  {path}, {size(path.stat().st_size)}")
