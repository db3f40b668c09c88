"""Compile a trained network, run it on its test images, and compare it with onnxruntime: ``make demo``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import tilewright
from tilewright.compiler.measure.interleave import Plan, interleave

HERE = Path(__file__).parent
MODEL = HERE / "digits.onnx"
LIBRARY = Path("build/demo/digits.so")
SECONDS = 2.0
LEAST_ACCURACY = 0.99
MOST_DIFFERENCE = 1e-5

Array = NDArray[Any]
Predict = Callable[[Array], Array]


def test_set() -> tuple[Array, Array]:
    """Return images [N, 1, 1, 8, 8] with pixels from 0 to 1, one batch of one each, and labels [N]."""
    with np.load(HERE / "test.npz") as data:
        return data["images"][:, None].astype("float32") / np.float32(16), data["labels"]


def predictors(library: Path) -> dict[str, Predict]:
    """Return the compiled library and onnxruntime as functions of one image, one thread each."""
    model = tilewright.runtime.load(library, threads=1)
    scores = np.empty((1, 10), "float32")

    def ours(image: Array) -> Array:
        model(image, out=scores)
        return scores

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])

    def theirs(image: Array) -> Array:
        result: Array = session.run(None, {"image": image})[0]
        return result

    return {"tilewright": ours, f"onnxruntime {onnxruntime.__version__}": theirs}


def all_scores(predict: Predict, images: Array) -> Array:
    """Return the scores [N, 10] of all images."""
    return np.concatenate([predict(image).copy() for image in images])


def medians(predict: dict[str, Predict], images: Array) -> list[float]:
    """Return the median seconds per image of each runtime; they take turns, so that both see the same machine."""

    def stepper(run: Predict) -> Callable[[], object]:
        endless = _cycle(images)
        return lambda: run(next(endless))

    turns = interleave({name: stepper(run) for name, run in predict.items()}, Plan(seconds=SECONDS))
    return [float(np.median(np.concatenate(turns[name]))) for name in predict]


def _cycle(images: Array) -> Iterator[Array]:
    while True:
        yield from images


def shipped_bytes() -> tuple[int, int]:
    """Return what has to be shipped: our library alone; onnxruntime's package and the model."""
    spec = find_spec("onnxruntime")
    assert spec is not None
    assert spec.origin is not None
    package = sum(path.stat().st_size for path in Path(spec.origin).parent.rglob("*") if path.is_file())
    return LIBRARY.stat().st_size, package + MODEL.stat().st_size


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{count / 1e3:.0f} KB"


def main() -> int:
    """Run the demo; return 0 when the library is as accurate as it must be."""
    console = Console()
    start = time.perf_counter()
    LIBRARY.parent.mkdir(parents=True, exist_ok=True)
    artifact = tilewright.compile(MODEL)
    artifact.save(LIBRARY)
    report = artifact.report
    console.print(f"[bold]{MODEL.name}[/] compiled to [bold]{LIBRARY}[/] in {time.perf_counter() - start:.1f} s")
    console.print(
        f"{report.kernels} kernels, {report.steps} steps, weights {_size(report.weight_bytes)}, "
        f"code and runtime {_size(report.library_bytes - report.weight_bytes)}"
    )

    images, labels = test_set()
    predict = predictors(LIBRARY)
    scores = [all_scores(each, images) for each in predict.values()]
    accuracies = [float(np.mean(each.argmax(1) == labels)) for each in scores]
    difference = float(np.abs(scores[0] - scores[1]).max() / np.abs(scores[1]).max())
    seconds = medians(predict, images)

    table = Table(title=f"{len(labels)} handwritten digits, one thread")
    for heading in ("", "accuracy", "median latency", "shipped"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, accuracy, median, size in zip(predict, accuracies, seconds, shipped_bytes(), strict=True):
        table.add_row(name, f"{accuracy:.2%}", f"{median * 1e6:.1f} us", _size(size))
    console.print(table)
    console.print(f"largest difference of a score: {difference:.1e} of the largest score")
    console.print(f"onnxruntime takes {seconds[1] / seconds[0]:.2f} times as long")

    good = accuracies[0] >= LEAST_ACCURACY and difference <= MOST_DIFFERENCE
    if not good:
        console.print("[bold red]the library does not compute what the model does[/]")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
