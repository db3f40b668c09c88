"""``tilewright run``: a compiled library on given or made-up inputs. Imports numpy and the runtime, nothing heavier."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ...runtime import load
from ..files import check_writable
from ..measure.statistics import summarize
from ..tensors import FILLS, Array, largest, make_tensors, read_tensors, write_tensors
from .options import PATH, Word
from .state import State, common_options
from .text import duration, printable, shape


@click.command(
    epilog="""\b
Examples:
  tilewright run model.so --inputs x.npz --outputs y.npz
  tilewright run model.so --fill random --seed 7 --print-top 5
  tilewright run model.so --repeat 100 --threads 2"""
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
) -> None:
    """Run LIBRARY, a file that 'tilewright compile' wrote, and tell what came out."""
    if outputs:
        check_writable(outputs)
    with load(library, threads=threads) as model:
        tensors = read_tensors(inputs, model.inputs) if inputs else make_tensors(model.inputs, fill, seed)
        seconds = []
        for _ in range(repeat):
            start = time.perf_counter()
            results = dict(model(tensors).items())
            seconds.append(time.perf_counter() - start)
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


def _print_top(array: Array, count: int) -> None:
    for index, value in largest(array, count):
        click.echo(f"  {shape(index)} {value:.6g}")
