"""Tilewright and the runtimes that its user could install instead, on this machine: ``python -m benchmarks.x86``.

Builds each model, compiles it with no option, and measures it on a number of threads together with every peer: in one
process on as many processors, in turns, in single precision, after comparing all outputs with onnxruntime's. Writes
``x86.json``, ``x86.md`` and ``x86.html``. The exit code is 1 when Tilewright fails on a model, misses its floor against
the best peer, or is not as exact as it must be. It needs the packages of ``.[peers]`` and a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .cell import OURS, Cell, Order, Standing, measure_cell
from .foundation import machine
from .isolation import Died, Failed, Tell, isolated
from .models import DEFAULT_FOLDER, MODELS, write_model
from .page import html_page
from .peers import PEERS
from .report import cell_line, markdown, passed

_DEFAULT_MODELS = (
    "resnet50", "mobilenet_v2", "vit_b16", "bert_base", "yolov5m", "lstm", "resnet50_b8", "bert_base_b8",
)  # fmt: skip
#: For this process and those it starts.
ENVIRONMENT = {
    # Nothing is looked up or reported over the network while models are built and converted.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # The processes that measure end at once, without tidying what runtimes left behind.
    "PYTHONWARNINGS": "ignore:resource_tracker",
}


def measure_model(name: str, options: argparse.Namespace) -> list[Cell]:
    """Build, compile and measure one model."""
    folder = options.out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = folder / "log.txt"
    tell(f"{name}: {MODELS[name].description}")
    try:
        onnx = isolated(_export, name, options.folder, log=log)
    except (Died, Failed) as error:
        return [_unmeasured(name, threads, options.peers, f"cannot be built: {error}") for threads in options.threads]
    library, refusal = folder / f"{name}.so", ""
    try:
        tell(f"  compiled in {isolated(_compile, onnx, library, log=log):.1f} s")
    except (Died, Failed) as error:
        refusal = str(error)
        tell(f"  NOT COMPILED: {refusal}")
    order = Order(
        name, onnx, None if refusal else library, folder / "converted", 0, options.seconds, tuple(options.peers)
    )
    cells = []
    for threads in options.threads:
        cell = measure_cell(replace(order, threads=threads), log)
        if refusal:
            cell = replace(cell, standings=(Standing(OURS, failure=refusal), *cell.standings[1:]))
        tell(cell_line(cell))
        cells.append(cell)
    return cells


def _export(name: str, folder: Path, _tell: Tell) -> Path:
    return write_model(name, folder)


def _compile(onnx: Path, library: Path, _tell: Tell) -> float:
    # Here, because the processes that measure import this module: the compiler and its frameworks stay out of them.
    from tilewright import compile as compile_model

    start = time.perf_counter()
    compile_model(onnx).save(library)
    return time.perf_counter() - start


def _unmeasured(name: str, threads: int, peers: list[str], reason: str) -> Cell:
    return Cell(name, threads, tuple(Standing(each, failure=reason) for each in (OURS, *peers)), (), None, 0.0)


def tell(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options; an unknown name or too many threads end the program with a sentence."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description="Measure Tilewright beside its peers on this machine.")
    parser.add_argument(
        "--models", nargs="+", choices=list(MODELS), metavar="MODEL", default=list(_DEFAULT_MODELS),
        help=f"any of {', '.join(MODELS)} (default: {', '.join(_DEFAULT_MODELS)})",
    )  # fmt: skip
    parser.add_argument(
        "--peers", nargs="*", choices=list(PEERS), metavar="PEER", default=list(PEERS),
        help=f"any of {', '.join(PEERS)} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", nargs="+", type=int, default=[each for each in (1, 2) if each <= cores],
        help="numbers of threads (default: 1 2)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="time to measure each contender (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("build/x86"), help="folder to write to (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="ONNX files (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not all(1 <= each <= cores for each in options.threads):
        parser.error(f"--threads takes 1 to {cores}: this process may use {cores} processor(s)")
    if options.seconds <= 0:
        parser.error("--seconds is more than 0")
    return options


def record(cells: list[Cell]) -> dict[str, Any]:
    """Return everything measured, for JSON."""
    return {"format": 1, "machine": machine(), "cells": [asdict(cell) for cell in cells]}


def write(cells: list[Cell], folder: Path) -> None:
    """Write the three files; called after every model, so that an interrupted run leaves what it has."""
    told = machine()
    write_files(folder, "x86", record(cells), markdown(cells, told), html_page(cells, told))


def write_files(folder: Path, stem: str, figures: dict[str, Any], words: str, page: str) -> None:
    """Write a comparison as JSON, Markdown and HTML."""
    texts = {
        f"{stem}.json": json.dumps(figures, indent=1, allow_nan=False) + "\n",
        f"{stem}.md": words,
        f"{stem}.html": page,
    }
    for name, text in texts.items():
        temporary = folder / f".{name}.tmp"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(folder / name)


def main(arguments: list[str] | None = None) -> int:
    """Measure; return 1 when something is not as it must be."""
    options = parse(arguments)
    os.environ.update(ENVIRONMENT)
    options.out.mkdir(parents=True, exist_ok=True)
    cells: list[Cell] = []
    for name in options.models:
        cells += measure_model(name, options)
        write(cells, options.out)
    print(markdown(cells, machine()))
    return 0 if all(passed(cell) for cell in cells) else 1


if __name__ == "__main__":
    sys.exit(main())
