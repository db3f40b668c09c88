"""``tilewright doctor``: what this machine has and lacks."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from ...errors import EXIT_USER_ERROR
from ..doctor import examine
from ..environments import ENVIRONMENTS
from .state import State, common_options
from .tables import print_pairs, progress

_MARKS = {"ok": "ok", "missing": "optional", "bad": "BAD"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--install", metavar="NAME", help="Make the environment of a converter, such as 'paddle', with pip.")
@common_options
@click.pass_context
def command(context: click.Context, as_json: bool, install: str | None) -> None:
    """Check Python, packages, C compiler and CPU; the exit code is 2 when something needed is missing."""
    state = context.ensure_object(State)
    if install is not None:
        _install(install, state)
        return
    with progress("looking", None, quiet=state.quiet):
        findings = list(examine())
    bad = [each for each in findings if each.verdict == "bad"]
    if as_json:
        click.echo(json.dumps([asdict(each) for each in findings], indent=2))
    elif bad or not state.quiet:
        shown = bad if state.quiet else findings
        print_pairs((each.subject, _MARKS[each.verdict], each.detail) for each in shown)
    if bad:
        raise click.exceptions.Exit(EXIT_USER_ERROR)


def _install(name: str, state: State) -> None:
    environment = ENVIRONMENTS[name]
    with progress(f"installing {', '.join(environment.packages)}", None, quiet=state.quiet):
        environment.install()
    if not state.quiet:
        print_pairs([("installed", str(environment.folder))])
