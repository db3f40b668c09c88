"""``tilewright bench``: latency of a library, alone or in turns with other runtimes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from ...input_shapes import WrittenDim
from ..measure.bench import Bench, Standing, bench, bench_remote
from ..measure.interleave import Plan
from ..measure.peers import PEERS
from .options import PATH, InputShapes, Words, merge_shapes
from .remote import open_remote, remote_options
from .state import State, common_options
from .tables import print_table, progress
from .text import duration, printable


@click.command(
    epilog="""\b
Examples:
  tilewright bench model.so
  tilewright bench model.onnx --against onnxruntime,openvino --threads 1
  tilewright bench model.so --against onnxruntime --model model.onnx --seconds 10 --json

The contenders take turns in this one process, on the same inputs, each with the same number of threads.
The ratio says how many times as long a peer takes: over 1 the library is faster."""
)
@click.argument("file", type=PATH)
@click.option(
    "--against", type=Words("runtime", tuple(PEERS.names())), default=(), help="onnxruntime, openvino or both."
)
@click.option("--model", type=PATH, help="The ONNX file that a library was compiled from, for --against.")
@click.option("--input-shapes", type=InputShapes(), multiple=True, help="Shapes of inputs, where FILE is a model.")
@click.option("--target", default="host", show_default=True, help="The target, where FILE is a model.")
@click.option("--threads", type=click.IntRange(0), default=1, show_default=True, help="Threads; 0: one per processor.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=3.0, show_default=True, help="Time per contender."
)
@click.option("--repeat", type=click.IntRange(1), help="Exact number of runs per contender, in place of --seconds.")
@click.option("--warmup", type=click.IntRange(1), default=3, show_default=True, help="Untimed runs at the start.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The seed of random inputs.")
@remote_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, times in seconds.")
@common_options
@click.pass_obj
def command(
    state: State,
    file: Path,
    against: tuple[str, ...],
    model: Path | None,
    input_shapes: tuple[tuple[tuple[str, tuple[WrittenDim, ...]], ...], ...],
    target: str,
    threads: int,
    seconds: float,
    repeat: int | None,
    warmup: int,
    seed: int,
    remote: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Measure FILE, a compiled library or an ONNX model, which is compiled first."""
    is_model = file.suffix == ".onnx"
    if is_model and model not in (None, file):
        raise click.UsageError(f"'{file}' is itself a model: leave --model out")
    if against and not is_model and model is None:
        raise click.UsageError("--against needs the model that the library was compiled from: give --model MODEL.onnx")
    if remote and (against or is_model):
        raise click.UsageError("--remote measures a compiled library, on the board alone: give one, without --against")
    plan = Plan(seconds, repeat, warmup)
    if remote:
        with open_remote(file, remote, key, threads) as board:
            result = bench_remote(board, plan=plan, seed=seed)
        _show(result, as_json)
        return
    with (
        _library(file, is_model, target, merge_shapes(input_shapes), state) as library,
        progress(f"measuring {file.name}", 1.0, quiet=state.quiet) as show,
    ):
        source = file if is_model else model
        result = bench(library, model=source, against=against, threads=threads, plan=plan, seed=seed, tick=show)
    _show(result, as_json)


def _show(result: Bench, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(result), indent=2))
    else:
        _print(result)


@contextmanager
def _library(
    file: Path, is_model: bool, target: str, shapes: dict[str, tuple[WrittenDim, ...]], state: State
) -> Iterator[Path]:
    """Yield the library to measure, compiled into a temporary folder where the file is a model."""
    if not is_model:
        yield file
        return
    from ..api import CompileRequest, compile_model

    with tempfile.TemporaryDirectory(prefix="tilewright-") as folder:
        with progress(f"compiling {file.name}", None, quiet=state.quiet):
            artifact = compile_model(CompileRequest(file, target, shapes))
            assert artifact is not None
            library = artifact.save(Path(folder) / f"{file.stem}.so")
        yield library


def _print(result: Bench) -> None:
    click.echo(f"{printable(result.model)}, {result.threads} thread(s), {result.standings[0].latency.runs} runs")
    print_table(
        ("", ">median", ">p90", ">p99", ">runs/s", ">ratio", ">quartiles", ">outputs differ"),
        map(_row, result.standings),
    )


def _row(standing: Standing) -> tuple[str, ...]:
    latency, ratio, differs = standing.latency, standing.ratio, standing.difference
    return (
        standing.name,
        *map(duration, (latency.median, latency.p90, latency.p99)),
        f"{latency.throughput:.{0 if latency.throughput >= 100 else 2}f}",
        f"{ratio.median:.2f}x" if ratio else "",
        f"{ratio.low:.2f}-{ratio.high:.2f}" if ratio else "",
        f"{differs:.1e}" if differs is not None else "",
    )
