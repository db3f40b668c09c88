"""The program: ``python -m benchmarks.low_precision --schemes bf16``.

Each model is compiled in the scheme and in single precision, and runs in turns with both libraries and the scheme's
peers in one process on a number of threads. Errors are to onnxruntime's outputs in single precision. Writes
``low_precision.json``, ``.md`` and ``.html``; the exit code is 1 when a bar is missed. It needs the packages of
``.[peers]`` and a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import x86
from ..foundation import machine
from ..isolation import Died, Failed, Tell, isolated
from ..models import DEFAULT_FOLDER, MODELS, write_model
from ..peers.peer import Subject
from . import SCHEMES
from .measure import LowCell, Order, measure, unmeasured
from .page import html_page
from .report import line, markdown, missed


def measure_model(scheme: str, name: str, options: argparse.Namespace) -> list[LowCell]:
    """Build, compile and measure one model."""
    folder = options.out / scheme / name
    library, plain = folder / f"{name}.so", folder / f"{name}.fp32.so"
    if not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    x86.tell(f"{name}, {scheme}")
    try:
        onnx = isolated(_write, name, options.folder, log=log)
        if not library.is_file():
            low = isolated(_lower, scheme, name, onnx, folder, log=log)
            isolated(_compile, low, library, SCHEMES[scheme].options, log=log)
        if not plain.is_file():
            isolated(_compile, onnx, plain, {}, log=log)
    except (Died, Failed) as error:
        x86.tell(f"  NOT COMPILED: {error}")
        return [unmeasured(scheme, name, threads, str(error)) for threads in options.threads]
    cells = []
    for threads in () if options.compile_only else options.threads:
        cells.append(measure(Order(scheme, name, onnx, library, plain, folder, threads, options.seconds), log))
        x86.tell(line(cells[-1]))
    return cells


def _write(name: str, folder: Path, _tell: Tell) -> Path:
    return write_model(name, folder)


def _lower(scheme: str, name: str, onnx: Path, folder: Path, _tell: Tell) -> Path:
    return SCHEMES[scheme].write(Subject(MODELS[name], onnx, folder))


def _compile(onnx: Path, library: Path, options: Mapping[str, Any], _tell: Tell) -> None:
    # Here, because the processes that measure import this module: the compiler and its frameworks stay out of them.
    from tilewright import compile as compile_model

    compile_model(onnx, **options).save(library)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options; an unknown name or too many threads end the program with a sentence."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description="Measure low precisions beside other runtimes on this machine.")
    parser.add_argument(
        "--schemes", nargs="+", choices=SCHEMES.names(), metavar="SCHEME", default=SCHEMES.names(),
        help=f"any of {', '.join(SCHEMES.names())} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--models", nargs="+", choices=list(MODELS), metavar="MODEL",
        help=f"any of {', '.join(MODELS)} (default: those with bars)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", nargs="+", type=int, default=[each for each in (1, 2) if each <= cores],
        help="numbers of threads (default: 1 2)",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each contender (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="measure the libraries of the last run again")
    parser.add_argument("--compile-only", action="store_true", help="compile, to measure with --keep")
    parser.add_argument("--out", type=Path, default=Path("build/low_precision"), help="folder to write to")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="ONNX files (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not all(1 <= each <= cores for each in options.threads):
        parser.error(f"--threads takes 1 to {cores}: this process may use {cores} processor(s)")
    if options.seconds <= 0:
        parser.error("--seconds is more than 0")
    return options


def write(cells: list[LowCell], folder: Path) -> None:
    """Write the three files; called after every model, so that an interrupted run leaves what it has."""
    told = machine()
    record = {"format": 1, "machine": told, "cells": [asdict(low) for low in cells]}
    x86.write_files(folder, "low_precision", record, markdown(cells, told), html_page(cells, told))


def main(arguments: list[str] | None = None) -> int:
    """Measure; return 1 when something is not as it must be."""
    options = parse(arguments)
    os.environ.update(x86.ENVIRONMENT)
    options.out.mkdir(parents=True, exist_ok=True)
    cells: list[LowCell] = []
    for scheme in options.schemes:
        for name in options.models or SCHEMES[scheme].models:
            cells += measure_model(scheme, name, options)
            write(cells, options.out)
    print(markdown(cells, machine()))
    return 1 if any(missed(low) for low in cells) else 0
