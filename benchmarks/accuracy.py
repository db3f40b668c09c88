"""What low precision does to a trained model's answers: ``python -m benchmarks.accuracy``.

all-MiniLM-L6-v2 with its trained weights embeds 200 sentences of this project's documentation, as a library in single
precision and as libraries in low precision. Embeddings are means over a sentence's tokens. A row tells the cosines
between the embeddings of a sentence in both, the share of sentences whose nearest neighbour is the same one, how much
of the five nearest they have in common, and how often two sentences keep their order by nearness to a third. Int8 is
calibrated with other sentences. The exit code is 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .models import DEFAULT_FOLDER, TOKENS, minilm_folder, write_model

Array = NDArray[Any]
_SENTENCES = Path(__file__).parent / "texts" / "sentences.txt"
_VALIDATION = 200
_NEAREST = 5
_LEAST_KEPT = 0.98


@dataclass(frozen=True)
class Row:
    """A precision.

    Attributes:
        least_cosine: the bar for the mean cosine.
        least_kept: the bar for the share of nearest neighbours that stay.
        quantize: what ``Request`` says beside the files; None for the model as it is.
        options: of ``tilewright.compile``.
    """

    least_cosine: float
    least_kept: float
    quantize: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


ROWS = {
    "bf16": Row(0.9995, _LEAST_KEPT, None, {"precision": "bf16"}),
    "int8 weights": Row(0.9995, _LEAST_KEPT, {"method": "weights-only"}),
    "int4 weights": Row(0.0, 0.0, {"method": "weights-only", "bits": 4}),
    "int4 weights, gptq": Row(0.0, 0.0, {"method": "weights-only", "bits": 4, "rounding": "gptq"}),
    "int8": Row(0.99, _LEAST_KEPT, {"method": "default"}),
}


@dataclass(frozen=True)
class Found:
    """What one row found; sizes in bytes, latency in seconds."""

    mean_cosine: float
    least_cosine: float
    nearest_kept: float
    five_nearest_in_common: float
    order_kept: float
    library_bytes: int
    latency: float


def tokenized(folder: Path, sentences: list[str]) -> dict[str, Array]:
    """Return the model's inputs, [sentences, tokens] int64 each."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding(length=TOKENS)
    encoded = tokenizer.encode_batch(sentences)
    names = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    return {name: np.array([getattr(each, part) for each in encoded], np.int64) for name, part in names.items()}


def embed(library: Path, inputs: Mapping[str, Array]) -> tuple[Array, float]:
    """Return the embeddings, of norm 1, and the median seconds of a run on one thread."""
    import tilewright

    rows, seconds = [], []
    with tilewright.runtime.load(library, threads=1) as model:
        for at in range(_VALIDATION):
            sample = {name: each[at : at + 1] for name, each in inputs.items()}
            start = time.perf_counter()
            hidden = model(sample)["last_hidden_state"]
            seconds.append(time.perf_counter() - start)
            mask = sample["attention_mask"][0, :, None]
            rows.append((hidden[0].astype(np.float64) * mask).sum(0) / mask.sum())
    found = np.stack(rows)
    return found / np.linalg.norm(found, axis=1, keepdims=True), float(np.median(seconds))


def compare(got: Array, exact: Array, library: Path, latency: float) -> Found:
    """Return how well embeddings [N, D] of norm 1 reproduce exact ones."""
    cosines = (got * exact).sum(axis=1)
    near, reference = (_others(each @ each.T) for each in (got, exact))
    first, expected = ((-each).argsort(axis=1, kind="stable")[:, :_NEAREST] for each in (near, reference))
    common = [len(set(one) & set(other)) / _NEAREST for one, other in zip(first, expected, strict=True)]
    return Found(
        float(cosines.mean()),
        float(cosines.min()),
        float((first[:, 0] == expected[:, 0]).mean()),
        float(np.mean(common)),
        float(np.mean([_same_order(*each) for each in zip(near, reference, strict=True)])),
        library.stat().st_size,
        latency,
    )


def _others(similarity: Array) -> Array:
    """Return each row without the sentence itself."""
    count = len(similarity)
    return similarity[~np.eye(count, dtype=bool)].reshape(count, count - 1)


def _same_order(one: Array, other: Array) -> float:
    signs = np.sign(one[:, None] - one) * np.sign(other[:, None] - other)
    return float((signs[np.triu_indices(len(one), 1)] > 0).mean())


def measure(options: argparse.Namespace) -> dict[str, Found]:
    """Compile and compare every row asked for."""
    import tilewright
    from tilewright.optimizer.quantize.job import Request
    from tilewright.optimizer.quantize.run import quantize_model

    model: Path = options.model or write_model("minilm", options.folder)
    options.out.mkdir(parents=True, exist_ok=True)
    sentences = options.sentences.read_text(encoding="utf-8").splitlines()
    validation = tokenized(options.tokenizer or minilm_folder(), sentences[-_VALIDATION:])
    calibration = options.out / "calibration.npz"
    np.savez(calibration, **tokenized(options.tokenizer or minilm_folder(), sentences[:-_VALIDATION]))  # type: ignore[arg-type]

    def library(name: str, row: Row) -> Path:
        path = model
        if row.quantize is not None:
            path = options.out / f"{name.replace(' ', '_').replace(',', '')}.onnx"
            quantize_model(Request(model, path, calibration=str(calibration), **row.quantize))
        made: Path = options.out / f"{name.replace(' ', '_').replace(',', '')}.so"
        tilewright.compile(path, **row.options).save(made)
        return made

    exact, seconds = embed(library("fp32", Row(0, 0)), validation)
    found = {"fp32": compare(exact, exact, options.out / "fp32.so", seconds)}
    for name in options.rows:
        made = library(name, ROWS[name])
        embedded, seconds = embed(made, validation)
        found[name] = compare(embedded, exact, made, seconds)
        print(line(name, found[name]), flush=True)
    return found


def line(name: str, found: Found) -> str:
    """Return one row as text."""
    return (
        f"{name:<20}cosine {found.mean_cosine:.5f} (least {found.least_cosine:.5f}), nearest kept "
        f"{found.nearest_kept:.1%}, of five {found.five_nearest_in_common:.1%}, order {found.order_kept:.1%}, "
        f"{found.library_bytes / 1e6:.1f} MB, {found.latency * 1e3:.2f} ms"
    )


def missed(found: Mapping[str, Found]) -> list[str]:
    """Return the rows that miss their bars, in words."""
    checks: dict[str, Callable[[Row, Found], bool]] = {
        "cosine": lambda row, each: each.mean_cosine < row.least_cosine,
        "nearest neighbours": lambda row, each: each.nearest_kept < row.least_kept,
    }
    return [
        f"{name}: {what} under the bar"
        for name, each in found.items()
        for what, fails in checks.items()
        if name in ROWS and fails(ROWS[name], each)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write ``accuracy.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument(
        "--model", type=Path, help="the ONNX file, 128 tokens; made from the installed weights if left out"
    )
    parser.add_argument("--tokenizer", type=Path, help="the folder of tokenizer.json; the installed one if left out")
    parser.add_argument("--sentences", type=Path, default=_SENTENCES, help="one a line; the last 200 are compared")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="ONNX files (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/accuracy"))
    options = parser.parse_args(arguments)
    found = measure(options)
    (options.out / "accuracy.json").write_text(json.dumps({n: asdict(each) for n, each in found.items()}, indent=2))
    failures = missed(found)
    print("\n".join(failures) if failures else "all bars hold")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
