"""What Tilewright must show on real models: ``python -m benchmarks.foundation``.

Compiles each model with no option and measures, beside onnxruntime on the same machine in the same process: how far
the outputs lie apart (at one and two threads, into buffers that hold NaN before), latency at one thread in turns, what
a library needs to load and run, and what compiling takes. Writes ``foundation.json`` and ``foundation.md``; the exit
code is 1 when a figure misses its bar.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilewright import __version__, runtime
from tilewright.compiler.measure.interleave import Plan, interleave
from tilewright.compiler.measure.peers import Peer, open_peer
from tilewright.compiler.measure.statistics import ratio_of, summarize
from tilewright.targets.host import read_machine

from . import footprint
from .models import DEFAULT_FOLDER, MODELS, Arrays, write_model

_PEER = "onnxruntime"
_MODELS = ("resnet50", "mobilenet_v2", "vit_b16", "bert_base", "minilm")
_DIGITS = Path(__file__).resolve().parents[1] / "examples/digits"
_FUNCTIONS = [f"tilewright_{name}" for name in ("create", "error", "free", "info", "profile", "run")]
_SYSTEM = {"ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "linux-vdso.so.1"}
_MB = 1e6


@dataclass(frozen=True)
class Figure:
    """One measured figure and the bar it must clear.

    Attributes:
        bar: the bar in words; "" where there is none.
        passed: whether it clears the bar.
    """

    model: str
    what: str
    value: Any
    text: str
    bar: str = ""
    passed: bool = True


def numbers(model: str, library: Path, onnx: Path, inputs: Arrays, threads: int) -> Figure:
    """Compare the outputs with onnxruntime's."""
    reference = open_peer(_PEER, onnx, inputs, threads).outputs()
    with runtime.load(library, threads=threads) as compiled:
        buffers = {spec.name: np.full(spec.static_shape, np.nan, spec.dtype) for spec in compiled.outputs}
        compiled(inputs, out=buffers)
    what = f"error, {threads} thread(s)"
    if model == "minilm":
        ours, theirs = (_embedding(each["last_hidden_state"], inputs) for each in (buffers, reference))
        value = float(ours @ theirs)
        return Figure(model, what, value, f"cosine {value:.8f}", "cosine >= 0.99999", value >= 0.99999)
    value = max(_relative_error(buffers[name], array) for name, array in reference.items())
    return Figure(model, what, value, f"{value:.1e}", "<= 1e-5 of the largest output", value <= 1e-5)


def _relative_error(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    return float(np.nan_to_num(np.abs(ours - theirs), nan=np.inf).max() / np.abs(theirs).max())


def _embedding(hidden: NDArray[Any], inputs: Arrays) -> NDArray[Any]:
    """Return the sentence embedding: the mean over the tokens of the sentence, of length 1."""
    mask = inputs["attention_mask"][..., None]
    mean = (hidden.astype("float64") * mask).sum(1)[0] / mask.sum()
    return np.asarray(mean / np.linalg.norm(mean))


def speed(model: str, library: Path, onnx: Path, inputs: Arrays, seconds: float, bar: float) -> Figure:
    """Measure latency at one thread, in turns with onnxruntime."""
    with runtime.load(library, threads=1) as compiled:
        buffers = [np.empty(spec.static_shape, spec.dtype) for spec in compiled.outputs]
        peer: Peer = open_peer(_PEER, onnx, inputs, 1)

        def ours() -> object:
            return compiled(inputs, out=buffers)

        turns = interleave({"tilewright": ours, _PEER: peer.run}, Plan(seconds=seconds))
    ratio = ratio_of(turns["tilewright"], turns[_PEER])
    own, theirs = (summarize([each for turn in turns[name] for each in turn]) for name in turns)
    text = f"{ratio.median:.2f}x ({own.median * 1e3:.3f} ms; {peer.name}: {theirs.median * 1e3:.3f} ms)"
    value = {"ratio": asdict(ratio), "tilewright": asdict(own), peer.name: asdict(theirs)}
    return Figure(model, "speed, 1 thread", value, text, f">= {bar}x {_PEER}", ratio.median >= bar)


def needs(model: str, library: Path, most_bytes: float | None) -> list[Figure]:
    """Look at the file: what it loads, what it exports, how large it is without its weights."""
    loaded = footprint.needed_libraries(library)
    exported = footprint.exported_symbols(library)
    weights = footprint.start_in_c(library)["weight_bytes"]
    rest = library.stat().st_size - weights
    bar = f"<= {most_bytes / 1e3:.0f} KB" if most_bytes else ""
    return [
        Figure(model, "loads", loaded, ", ".join(loaded), "libc, libm", set(loaded) <= _SYSTEM),
        Figure(model, "exports", exported, f"{len(exported)} functions", "the C interface", exported == _FUNCTIONS),
        Figure(model, "code and runtime", rest, f"{rest / 1e3:.0f} KB", bar, not most_bytes or rest <= most_bytes),
    ]


def start(model: str, library: Path) -> list[Figure]:
    """Measure how long a C program waits for the library, and how much memory it takes."""
    value = footprint.start_in_c(library)
    opened, peak = value["open_seconds"], value["peak_bytes"]
    most = value["weight_bytes"] + value["arena_bytes"] + 8 * _MB
    text = f"{peak / _MB:.1f} MB (weights and arena: {(most - 8 * _MB) / _MB:.1f} MB)"
    return [
        Figure(model, "dlopen and create", value, f"{opened * 1e3:.3f} ms", "<= 1 ms", opened <= 1e-3),
        Figure(model, "peak memory in C", peak, text, "<= weights + arena + 8 MB", peak <= most),
    ]


def compiling(model: str, onnx: Path, library: Path) -> list[Figure]:
    """Compile from a cold start."""
    done = footprint.compile_cold(onnx, library)
    bars = model == "resnet50"
    memory = f"{done.peak_bytes / _MB:.0f} MB"
    return [
        Figure(
            model,
            "compile time",
            done.seconds,
            f"{done.seconds:.1f} s on {len(os.sched_getaffinity(0))} cores",
            "<= 60 s" if bars else "",
            not bars or done.seconds <= 60,
        ),
        Figure(
            model,
            "compile memory",
            done.peak_bytes,
            memory,
            "<= 4 GB" if bars else "",
            not bars or done.peak_bytes <= 4e9,
        ),
    ]


def demo_figures(folder: Path, seconds: float) -> list[Figure]:
    """Measure the model of ``make demo``."""
    onnx, library = _DIGITS / "digits.onnx", folder / "digits.so"
    with np.load(_DIGITS / "test.npz") as data:
        inputs = {"image": data["images"][:1].astype("float32") / np.float32(16)}
    figures = compiling("digits", onnx, library)
    figures += [numbers("digits", library, onnx, inputs, threads) for threads in (1, 2)]
    figures += [speed("digits", library, onnx, inputs, seconds, 0.7), *needs("digits", library, 200e3)]
    waited = footprint.start_in_python(library)
    text = f"{waited * 1e3:.0f} ms"
    return [*figures, Figure("digits", "Python, start to first output", waited, text, "<= 0.3 s", waited <= 0.3)]


def model_figures(name: str, models: Path, folder: Path, seconds: float) -> list[Figure]:
    """Measure one of the benchmark models."""
    onnx, library = write_model(name, models), folder / f"{name}.so"
    inputs = MODELS[name].inputs()
    figures = compiling(name, onnx, library)
    figures += [numbers(name, library, onnx, inputs, threads) for threads in (1, 2)]
    figures.append(speed(name, library, onnx, inputs, seconds, 1.0 if name in ("resnet50", "bert_base") else 0.7))
    figures += needs(name, library, 1e6 if name == "resnet50" else None)
    return figures + (start(name, library) if name == "resnet50" else [])


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    found = read_machine()
    versions = {"tilewright": __version__, "python": platform.python_version()}
    return {"cpu": found.model, "cores": found.cores, "versions": versions}


def markdown(figures: list[Figure]) -> str:
    """Return the figures as a table."""
    told = machine()
    rows = [f"| {each.model} | {each.what} | {each.text} | {each.bar} | {_verdict(each)} |" for each in figures]
    head = ["| model | what | figure | bar | |", "|---|---|---|---|---|"]
    return "\n".join([f"Measured on {told['cpu']}, {told['cores']} cores.", "", *head, *rows]) + "\n"


def _verdict(figure: Figure) -> str:
    return ("ok" if figure.passed else "**missed**") if figure.bar else ""


def measure(name: str, run: Callable[[], list[Figure]]) -> list[Figure]:
    """Run the measurements of one model; a model that fails is a figure that misses its bar."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    try:
        figures = run()
    except Exception as error:  # one model's failure must not hide the figures of the others
        return [Figure(name, "failure", str(error), str(error).strip().splitlines()[-1], "none", False)]
    for each in figures:
        print(f"  {each.what}: {each.text} {'' if each.passed else 'MISSED ' + each.bar}", file=sys.stderr, flush=True)
    return figures


def main() -> int:
    """Measure the chosen models; return 1 when a figure misses its bar."""
    known = ("digits", *_MODELS)
    parser = argparse.ArgumentParser(description="Measure what the foundation must show.")
    parser.add_argument("names", nargs="*", metavar="MODEL", help=f"any of {', '.join(known)}; default: all")
    parser.add_argument(
        "--models", type=Path, default=DEFAULT_FOLDER, help="folder of ONNX files (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("build/foundation"), help="folder to write to")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="time to measure each runtime (default: %(default)s)"
    )
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"unknown model '{unknown[0]}'; known: {', '.join(known)}")
    options.out.mkdir(parents=True, exist_ok=True)
    runs: dict[str, Callable[[], list[Figure]]] = {
        name: partial(model_figures, name, options.models, options.out, options.seconds) for name in _MODELS
    }
    runs["digits"] = partial(demo_figures, options.out, options.seconds)
    figures = [figure for name in options.names or known for figure in measure(name, runs[name])]
    record = {"machine": machine(), "figures": [asdict(each) for each in figures]}
    (options.out / "foundation.json").write_text(json.dumps(record, indent=2) + "\n")
    (options.out / "foundation.md").write_text(markdown(figures))
    print(markdown(figures))
    return 0 if all(each.passed for each in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
