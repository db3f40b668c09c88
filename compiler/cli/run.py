"""``tilewright run``: a compiled library on given or made-up inputs. Imports numpy and the runtime, nothing heavier."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import click

from ...runtime import Model, Outputs, load
from ...runtime.remote import RemoteModel
from ..files import check_writable
from ..measure.statistics import summarize
from ..tensors import FILLS, Array, largest, make_tensors, read_tensors, write_tensors
from .options import PATH, Word
from .remote import open_remote, remote_options
from .state import State, common_options
from .text import duration, printable, shape


@click.command(
    epilog="""\b
Examples:
  tilewright run model.so --inputs x.npz --outputs y.npz
  tilewright run model.so --fill random --seed 7 --print-top 5
  tilewright run model.so --repeat 100 --threads 2
  tilewright run model.so --remote raspberrypi --key KEY"""
)
@click.argument("library", type=PATH)
@click.option("--inputs", type=PATH, help="An .npz file with one array for each input.")
@click.option(
    "--fill",
    type=Word("fill", tuple(FILLS.names())),
    default="random",
    show_default=True,
    help="How to make inputs up where no --inputs are given: random, zeros or ones.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The seed of random inputs.")
@click.option("--outputs", type=PATH, help="Write the outputs to an .npz file.")
@click.option("--print-top", type=click.IntRange(1), metavar="N", help="Print the N largest elements of each output.")
@click.option("--repeat", type=click.IntRange(1), default=1, show_default=True, help="Run so many times.")
@click.option("--threads", type=click.IntRange(0), default=0, help="Threads of a run; one per processor.")
@remote_options
@common_options
@click.pass_obj
def command(
    state: State,
    library: Path,
    inputs: Path | None,
    fill: str,
    seed: int,
    outputs: Path | None,
    print_top: int | None,
    repeat: int,
    threads: int,
    remote: str | None,
    key: str | None,
) -> None:
    """Run LIBRARY, a file that 'tilewright compile' wrote, and tell what came out."""
    if outputs:
        check_writable(outputs)
    with open_remote(library, remote, key, threads) if remote else load(library, threads=threads) as model:
        tensors = read_tensors(inputs, model.inputs) if inputs else make_tensors(model.inputs, fill, seed)
        run = model.run if isinstance(model, RemoteModel) else partial(_run, model)
        found, seconds = run(tensors, repeat)
        results = dict(found.items())
    if outputs:
        write_tensors(outputs, results)
    for name, array in results.items():
        if not state.quiet:
            click.echo(f"{printable(name)}: {array.dtype} {shape(array.shape)}")
        if print_top:
            _print_top(array, print_top)
    if not state.quiet:
        latency = summarize(seconds)
        click.echo(f"{repeat} run(s), median {duration(latency.median)}, best {duration(latency.minimum)}")


def _run(model: Model, tensors: dict[str, Array], repeat: int) -> tuple[Outputs, list[float]]:
    """Run a number of times; return the last outputs and the seconds of each run."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        results = model(tensors)
        seconds.append(time.perf_counter() - start)
    return results, seconds


def _print_top(array: Array, count: int) -> None:
    for index, value in largest(array, count):
        click.echo(f"  {shape(index)} {value:.6g}")
