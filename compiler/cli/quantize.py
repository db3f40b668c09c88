"""``tilewright quantize``: a float model in, one of integers out, and what that costs."""

from __future__ import annotations

from pathlib import Path

import click

from ...errors import UserError
from .options import PATH, Word
from .quantize_options import AUTO, CALIBRATIONS, METHOD_LINES, ROUNDINGS, Percentage, Strength, check_bits, check_bound
from .state import State, common_options
from .tables import print_pairs, print_table, progress

_WORST = 10
_DEFAULT = click.core.ParameterSource.DEFAULT


@click.command(
    epilog="\b\nMethods:\n"
    + "\n".join(f"  {name:<16}{line}" for name, line in METHOD_LINES.items())
    + """

\b
Examples:
  tilewright quantize model.onnx --calibration data/
  tilewright quantize model.onnx --calibration photos/ --preprocessing photos.toml --html report.html
  tilewright quantize model.onnx --method accuracy-aware --calibration data/ --validation test/ --max-drop 0.5%
  tilewright quantize gpt.onnx --method weights-only --bits 4"""
)
@click.argument("model", type=PATH)
@click.option("--calibration", metavar="SOURCE", help="Samples: a folder of .npy, .npz or images, or module:function.")
@click.option("-o", "--output", type=PATH, help="Where to write; MODEL.int8.onnx in this folder when left out.")
@click.option(
    "--method", type=Word("method", tuple(METHOD_LINES)), default="default", show_default=True, help="See below."
)
@click.option("--max-drop", type=Percentage(), default="0.5%", show_default=True, help="How much the metric may lose.")
@click.option("--metric", help="top1, top5, cosine, mse, map or module:function; top1 with labels, else cosine.")
@click.option("--validation", metavar="SOURCE", help="Samples to measure the metric on; the calibration's if left out.")
@click.option("--preprocessing", type=PATH, help="How images become the input: a TOML or JSON file.")
@click.option("--samples", type=click.IntRange(1), default=300, show_default=True, help="Samples to take at most.")
@click.option(
    "--calibrate",
    type=Word("calibration", CALIBRATIONS),
    default="minmax",
    show_default=True,
    help="How ranges are found: minmax, entropy or percentile.",
)
@click.option("--bits", type=click.Choice(["8", "4"]), default="8", show_default=True, help="Of weights-only.")
@click.option(
    "--group",
    type=click.IntRange(0),
    default=32,
    show_default=True,
    help="Weights that share a scale, of weights-only; 0 at 8 bits: those of a channel.",
)
@click.option(
    "--rounding", type=Word("rounding", ROUNDINGS), default="nearest", show_default=True,
    help="Of weights-only: nearest, or gptq, which needs --calibration.",
)  # fmt: skip
@click.option(
    "--smoothing", type=Strength(), default=AUTO, show_default=True, help="Of SmoothQuant: auto, or 0 (none) to 1."
)
@click.option(
    "--least-sqnr", type=click.FloatRange(0), default=33.0, show_default=True, metavar="DB",
    help="Products whose activations would be louder as bytes keep them in floats; 0 for none.",
)  # fmt: skip
@click.option("--equalize", is_flag=True, help="Equalize the channels of neighbouring convolutions first.")
@click.option("--no-bias-correction", is_flag=True, help="Leave biases as they are.")
@click.option("--best-effort", is_flag=True, help="Write the best model even if --max-drop does not hold.")
@click.option("--latency", is_flag=True, help="Compile both models and measure them.")
@click.option("--html", type=PATH, help="Write the report as one HTML file.")
@common_options
@click.pass_obj
def command(
    state: State,
    model: Path,
    calibration: str | None,
    output: Path | None,
    method: str,
    max_drop: float,
    metric: str | None,
    validation: str | None,
    preprocessing: Path | None,
    samples: int,
    calibrate: str,
    bits: str,
    group: int,
    rounding: str,
    smoothing: float | str,
    least_sqnr: float,
    equalize: bool,
    no_bias_correction: bool,
    best_effort: bool,
    latency: bool,
    html: Path | None,
) -> None:
    """Quantize MODEL, a float ONNX file, and report what that does to its accuracy and size."""
    from ...optimizer.quantize.job import Request
    from ...optimizer.quantize.preparation import Recipe
    from ...optimizer.quantize.run import quantize_model
    from ...optimizer.quantize.tables import report_figures, report_page, report_tables
    from ..files import check_writable, write_text

    check_bits(method, int(bits), group, rounding)
    check_bound(method, _given("max_drop", "best_effort"))
    written = output or Path(f"{model.stem}.int{bits}.onnx")
    if written.resolve() == model.resolve():
        raise UserError(f"'{written}' is the model itself: give another file with -o")
    if html is not None:
        check_writable(html)
    request = Request(
        model,
        written,
        method,
        calibration,
        validation,
        preprocessing,
        samples,
        metric,
        max_drop,
        best_effort,
        int(bits),
        group,
        rounding,
        Recipe(
            calibrate, None if smoothing == AUTO else float(smoothing), equalize, not no_bias_correction, least_sqnr
        ),
        latency,
    )
    with progress(f"{model.name}: reading", None, quiet=state.quiet) as show:
        report = quantize_model(request, lambda what: show(0, f"{model.name}: {what}"))
    if html is not None:
        write_text(html, report_page(report))
    if not state.quiet:
        for table in report_tables(report, None if state.verbose else _WORST):
            print_table(table.heads, table.rows)
        print_pairs(report_figures(report))


def _given(*names: str) -> list[str]:
    """Return those parameters of the command that the user gave."""
    source = click.get_current_context().get_parameter_source
    return [name for name in names if source(name) is not _DEFAULT]
