"""What the options every command shares have set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])


@dataclass
class State:
    """One call of the command line.

    Attributes:
        verbose: show the causes of errors, and more detail in reports.
        quiet: print errors and what was asked for, nothing else.
    """

    verbose: bool = False
    quiet: bool = False


def _set(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        setattr(context.ensure_object(State), str(parameter.name), True)


def common_options(command: AnyCommand) -> AnyCommand:
    """Add ``-v`` and ``-q``, which may stand before or after the command's name."""
    for short, long, text in (
        ("-q", "--quiet", "Print errors and what was asked for, nothing else."),
        ("-v", "--verbose", "Print more detail, and the causes of errors."),
    ):
        command = click.option(short, long, is_flag=True, expose_value=False, callback=_set, help=text)(command)
    return command
