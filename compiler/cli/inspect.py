"""``tilewright inspect``: what is in a library or a model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...signature import TensorSpec
from .options import PATH
from .state import State, common_options
from .tables import print_pairs, print_table
from .text import shape, size

if TYPE_CHECKING:
    from ..inspect_library import LibraryContents
    from ..inspect_model import ModelContents


@click.command(
    epilog="""\b
Examples:
  tilewright inspect model.so
  tilewright inspect model.so --check
  tilewright inspect boards.tar
  tilewright inspect model.onnx --json"""
)
@click.argument("file", type=PATH)
@click.option("--check", is_flag=True, help="Compare a library with the hash written into it when it was made.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, sizes in bytes.")
@common_options
@click.pass_obj
def command(state: State, file: Path, check: bool, as_json: bool) -> None:
    """Show what is in FILE: what 'compile' wrote, for any machine and not loaded, or a model (ONNX, PyTorch)."""
    from ..inspect_library import inspect_library, is_product

    if file.suffix == ".tar":
        _show_bundle(file, check, as_json)
        return
    if is_product(file):
        library = inspect_library(file, check=check)
        if as_json:
            click.echo(json.dumps(_plain(library), indent=2))
        else:
            _print_library(library, state)
        return
    if check:
        raise click.UsageError(f"--check is for libraries, and '{file}' is none")
    from ..inspect_model import inspect_model

    model = inspect_model(file)
    if as_json:
        click.echo(json.dumps(_plain(model), indent=2))
    else:
        _print_model(model)


#: Fields of tensors that only some have.
_SELDOM = ("largest", "labels")


def _plain(described: LibraryContents | ModelContents) -> dict[str, Any]:
    """Return the fields as JSON's types; few tensors have a largest shape, or labels."""
    return asdict(
        described, dict_factory=lambda pairs: {key: value for key, value in pairs if key not in _SELDOM or value}
    )


def _show_bundle(file: Path, check: bool, as_json: bool) -> None:
    from ..package.bundle import read_bundle

    bundle = read_bundle(file, check=check)
    if as_json:
        click.echo(json.dumps(asdict(bundle), indent=2))
        return
    print_pairs([("name", bundle.name), ("bundle of", f"{len(bundle.libraries)} libraries")])
    click.echo()
    rows = ((each.target, each.triple, size(each.bytes), each.file) for each in bundle.libraries)
    print_table(("target", "triple", ">size", "file"), rows)


def _print_library(library: LibraryContents, state: State) -> None:
    lacking = f"no: its CPU lacks {', '.join(library.lacking)}" if library.lacking else "yes"
    code = library.file_bytes - library.weight_bytes
    print_pairs(
        [
            ("name", library.name),
            *_signature(library.inputs, library.outputs),
            ("target", f"{library.target}, {library.triple}"),
            ("needs", " ".join(library.features) or "nothing beyond the architecture"),
            ("this machine has that", lacking),
            ("file", f"{size(library.file_bytes)}: weights {size(library.weight_bytes)}, the rest {size(code)}"),
            ("arena", f"{size(library.arena_bytes)} for each instance"),
            ("steps", f"{library.steps}, by {len(library.kernels)} kernels"),
            ("made with", ", ".join(f"{name} {version}" for name, version in library.versions.items())),
            *((f"sha256 of {name}", value) for name, value in library.sha256.items() if state.verbose),
        ]
    )
    click.echo()
    print_table(
        ("kernel", "template", ">steps"), ((each.symbol, each.template, str(each.steps)) for each in library.kernels)
    )
    _print_in_floats(library.in_floats)


def _print_model(model: ModelContents) -> None:
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in model.opsets.items())
    print_pairs(
        [
            ("name", model.name),
            *_signature(model.inputs, model.outputs),
            ("opset", f"{opsets}; IR version {model.ir_version}"),
            ("made with", model.producer or "not said"),
            ("weights", f"{size(model.weight_bytes)} in {model.weights} tensors"),
            ("unsupported", f"{len(model.unsupported)} of {sum(count for _, count in model.operators)} nodes"),
        ]
    )
    click.echo()
    refused = {operator for operator, _ in model.unsupported}
    print_table(
        ("operator", ">nodes", ""),
        ((name, str(count), "unsupported" if name in refused else "") for name, count in model.operators),
    )
    if model.unsupported:
        click.echo()
        print_table(("unsupported operator", "node"), model.unsupported)
    _print_in_floats(model.in_floats)


def _print_in_floats(nodes: tuple[tuple[str, str], ...]) -> None:
    if nodes:
        click.echo()
        print_table(("quantized, computed in floats", "why"), nodes)


def _signature(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> list[tuple[str, str]]:
    return [
        (
            role,
            f"{spec.name}: {spec.dtype} {shape(spec.shape)}"
            + f", up to {shape(spec.largest)}" * bool(spec.largest)
            + f", numbers of {', '.join(map(repr, spec.labels))}" * bool(spec.labels),
        )
        for role, specs in (("input", inputs), ("output", outputs))
        for spec in specs
    ]
