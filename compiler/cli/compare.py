"""``tilewright compare``: where the outputs of two versions of a model part."""

from __future__ import annotations

from pathlib import Path

import click

from .options import PATH
from .state import State, common_options
from .tables import print_pairs, print_table, progress

_WORST = 20


@click.command(
    epilog="""\b
Examples:
  tilewright compare model.onnx model.int8.onnx --data samples/
  tilewright compare model.onnx model.int8.onnx --data samples/ --html parting.html -v"""
)
@click.argument("original", type=PATH)
@click.argument("changed", type=PATH)
@click.option("--data", required=True, metavar="SOURCE", help="Samples, as --calibration of quantize.")
@click.option("--preprocessing", type=PATH, help="How images become the input: a TOML or JSON file.")
@click.option("--samples", type=click.IntRange(1), default=16, show_default=True, help="Samples to take at most.")
@click.option("--html", type=PATH, help="Write the whole comparison as one HTML file.")
@common_options
@click.pass_obj
def command(
    state: State, original: Path, changed: Path, data: str, preprocessing: Path | None, samples: int, html: Path | None
) -> None:
    """Run ORIGINAL and CHANGED on the same samples and show, tensor by tensor, how far they lie apart.

    Shown are the tensors where most is lost; all of them, in the model's order, with -v.
    """
    from ...optimizer.compare import PARTING_HEADS, compare_models, parting_rows
    from ...optimizer.page import page, table
    from ..files import check_writable, write_text

    if html is not None:
        check_writable(html)
    with progress(f"comparing {original.name} with {changed.name}", None, quiet=state.quiet):
        found = compare_models(original, changed, data, preprocessing=preprocessing, samples=samples)
    figures = [("samples", str(found.samples)), ("tensors compared", str(len(found.partings)))]
    figures += [("without counterpart", str(len(found.unmatched)))] if found.unmatched else []
    figures += [
        ("output", f"{each.tensor}: {each.sqnr:.1f} dB, cosine {each.cosine:.6f}")
        for each in found.partings
        if each.output
    ]
    if html is not None:
        parts = [
            table("Figures", ("what", "value"), figures),
            table("In the model's order", PARTING_HEADS, parting_rows(found.partings)),
        ]
        write_text(html, page(f"{found.original} and {found.changed}", parts))
    if not state.quiet:
        shown = found.partings if state.verbose else found.worst_first[:_WORST]
        print_table(PARTING_HEADS, parting_rows(shown))
        print_pairs(figures)
