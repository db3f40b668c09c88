"""``--remote`` and ``--key``: run a library on a board where ``tilewright-runner serve`` listens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ...runtime.remote import DEFAULT_PORT, KEY_VARIABLE, Address, RemoteModel


def remote_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which receives ``remote`` and ``key``."""
    command = click.option(
        "--key", help=f"The key that the runner wants; otherwise the environment variable {KEY_VARIABLE} has it."
    )(command)
    return click.option(
        "--remote",
        metavar="HOST[:PORT]",
        help=f"Run on a board where tilewright-runner listens (port {DEFAULT_PORT}).",
    )(command)


def open_remote(library: Path, remote: str, key: str | None, threads: int) -> RemoteModel:
    """Return the library loaded on a board."""
    return RemoteModel(library, Address.of(remote, key), threads)
