"""``tilewright targets``: the machines that can be compiled for."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from ...targets.database import known_targets, load_target
from ...targets.target import Target
from .state import State, common_options
from .tables import print_pairs, print_table
from .text import size


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  tilewright targets                    all of them
  tilewright targets list avx512        those whose name, description or features hold a word
  tilewright targets show host          everything known of this machine""",
)
@common_options
@click.pass_context
def command(context: click.Context) -> None:
    """List the machines that can be compiled for, or show one."""
    if context.invoked_subcommand is None:
        context.invoke(list_targets, word="", as_json=False)


@command.command("list")
@click.argument("word", default="")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def list_targets(word: str, as_json: bool) -> None:
    """List targets whose name, description or features hold WORD."""
    targets = [each for each in map(load_target, known_targets()) if _matches(each, word.lower())]
    if as_json:
        click.echo(json.dumps([_as_data(each) for each in targets], indent=2))
    else:
        print_table(("name", "", ">vector"), ((t.name, t.description, f"{t.facts.vector_bits} bit") for t in targets))


@command.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
@click.pass_obj
def show_target(state: State, name: str, as_json: bool) -> None:
    """Show everything known of NAME: a target of the list, 'host', or the path of a target file."""
    target = load_target(name)
    if as_json:
        click.echo(json.dumps(_as_data(target), indent=2))
        return
    facts = target.facts
    print_pairs(
        [
            ("name", target.name),
            ("description", target.description),
            ("architecture", f"{target.arch}, {target.triple}"),
            ("vectors", f"{facts.vector_registers} registers of {facts.vector_bits} bit"),
            ("caches", f"{size(facts.l1_bytes)} and {size(facts.l2_bytes)} a core, {size(facts.l3_bytes)} shared"),
            ("cores", str(facts.cores)),
            ("features", " ".join(sorted(target.features))),
            ("tvm", json.dumps(dict(target.tvm))),
            ("toolchains", ", ".join(target.toolchain)),
        ]
    )


def _matches(target: Target, word: str) -> bool:
    return any(word in text.lower() for text in (target.name, target.description, *target.features))


def _as_data(target: Target) -> dict[str, Any]:
    return {**asdict(target), "tvm": dict(target.tvm), "features": sorted(target.features)}
