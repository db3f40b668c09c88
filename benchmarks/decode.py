"""Tokens per second of GPT-2 small with a key/value cache, in turns with onnxruntime: ``python -m benchmarks.decode``.

One library serves every length of the past up to a bound. A round generates the tokens greedily from the same prompt,
on one thread, with each runtime in turn; the tokens of both must be the same and their logits near. With ``--bits`` the
model with weights in few bits takes part too. Weights are random: they tell speed and size, not accuracy.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .small_language import cached

Array = NDArray[Any]
_LAYERS, _HEADS, _SIZE, _PROMPT = 12, 12, 64, 16
_SEED = 20240229
_NEAR = 1e-4


def write_model(path: Path, most: int) -> None:
    """Write GPT-2 small with a cache [1, heads, past, size] for each key and value, past up to ``most``."""
    import torch

    from tilewright.compiler.frontends import LiveModel, ModelSource, onnx_file

    past = torch.export.Dim("past", min=1, max=most)
    caches = [torch.randn(1, _HEADS, _PROMPT, _SIZE) for _ in range(2 * _LAYERS)]
    mask = torch.ones(1, _PROMPT + 1, dtype=torch.int64)
    inputs = {"input_ids": torch.zeros(1, 1, dtype=torch.int64), "attention_mask": mask, "past": caches}
    dims = {"input_ids": None, "attention_mask": {1: past + 1}, "past": [{2: past}] * len(caches)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with onnx_file(ModelSource(Path(path.stem), live=LiveModel(_module(), inputs, dims))) as made:
        for each in made.parent.iterdir():
            shutil.move(each, path.parent / each.name)


def _module() -> Any:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(_SEED)
    return cached(lambda: GPT2LMHeadModel(GPT2Config()))().eval()


def _prompt() -> list[Array]:
    draw = np.random.default_rng(_SEED)
    return [draw.standard_normal((1, _HEADS, _PROMPT, _SIZE)).astype("float32") for _ in range(2 * _LAYERS)]


Step = Callable[[Array, Array, list[Any]], tuple[Array, list[Any]]]


def in_few_bits(path: Path, bits: int) -> Path:
    """Return the model with its weights, the tied table of embeddings among them, in so many bits."""
    from tilewright.optimizer.quantize.job import Request
    from tilewright.optimizer.quantize.run import quantize_model

    low = path.with_name(f"{path.stem}_int{bits}.onnx")
    quantize_model(Request(path, low, "weights-only", bits=bits))
    return low


def tilewright_step(path: Path, most: int) -> Step:
    """Return a step of the compiled model: token, mask and cache to logits and cache."""
    import tilewright

    library = path.with_suffix(".so")
    bounds: dict[str, tuple[int | str, ...]] = {"attention_mask": (1, "past + 1")}
    bounds |= {f"past_{i}": (1, _HEADS, f"past<={most}", _SIZE) for i in range(2 * _LAYERS)}
    tilewright.compile(path, input_shapes=bounds, jobs=1).save(library)
    model = tilewright.runtime.load(library, threads=1)

    def step(token: Array, mask: Array, past: list[Any]) -> tuple[Array, list[Any]]:
        logits, *present = model(token, mask, *past).values()
        return logits, present

    return step


def onnxruntime_step(path: Path) -> Step:
    """Return a step of onnxruntime; its cache stays in onnxruntime's own tensors."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    results = [each.name for each in session.get_outputs()]
    wrap = onnxruntime.OrtValue.ortvalue_from_numpy

    def step(token: Array, mask: Array, past: list[Any]) -> tuple[Array, list[Any]]:
        tensors = [each if isinstance(each, onnxruntime.OrtValue) else wrap(each) for each in (token, mask, *past)]
        logits, *present = session.run_with_ort_values(results, dict(zip(names, tensors, strict=True)))
        return logits.numpy(), present

    return step


def generate(step: Step, tokens: int) -> tuple[float, list[int], Array]:
    """Return the seconds of a round, its tokens, and the logits of the last."""
    past, token, made = _prompt(), np.zeros((1, 1), "int64"), []
    logits = np.empty(0)
    start = time.perf_counter()
    for index in range(tokens):
        mask = np.ones((1, _PROMPT + index + 1), "int64")
        logits, past = step(token, mask, past)
        token = logits[:, -1].argmax(-1, keepdims=True)
        made.append(int(token[0, 0]))
    return time.perf_counter() - start, made, logits


def main(arguments: list[str]) -> int:
    """Measure, print and write JSON; return 1 when the runtimes disagree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode", description=__doc__)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("build/decode"))
    parser.add_argument("--bits", type=int, nargs="*", default=[], choices=(4, 8), help="also weights in few bits")
    parser.add_argument("--keep", action="store_true", help="measure what the folder holds already")
    options = parser.parse_args(arguments)
    path, most = options.folder / "gpt2_cache.onnx", _PROMPT + options.tokens
    if not (options.keep and path.is_file()):
        write_model(path, most)
    steps = {"tilewright": tilewright_step(path, most), "onnxruntime": onnxruntime_step(path)}
    libraries = {"tilewright": path}
    for bits in options.bits:
        libraries[f"int{bits}"] = low = in_few_bits(path, bits)
        steps[f"int{bits}"] = tilewright_step(low, most)
    sizes = {name: each.with_suffix(".so").stat().st_size for name, each in libraries.items()}
    return report(steps, sizes, options.tokens, options.rounds, options.folder / "decode.json")


def report(steps: dict[str, Step], sizes: dict[str, int], tokens: int, rounds: int, file: Path) -> int:
    """Run rounds in turns, print the medians, write them; return 1 when the runtimes disagree."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    last: dict[str, tuple[list[int], Array]] = {}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            took, made, logits = generate(step, tokens)
            seconds[name].append(took)
            last[name] = (made, logits.copy())
    rates = {name: tokens / statistics.median(each[1:]) for name, each in seconds.items()}
    (ours, near), (theirs, reference) = last["tilewright"], last["onnxruntime"]
    error = float(np.abs(near - reference).max() / np.abs(reference).max())
    for name, rate in rates.items():
        held = f"  library {sizes[name] / 1e6:.1f} MB" if name in sizes else ""
        print(f"{name:<12}{rate:8.2f} tokens/s, {rate / rates['tilewright']:.2f} of float32{held}")
    ratio = rates["tilewright"] / rates["onnxruntime"]
    print(f"ratio {ratio:.3f}, logits {error:.1e} apart, tokens {'equal' if ours == theirs else 'DIFFERENT'}")
    found = {"tokens_per_second": rates, "library_bytes": sizes, "ratio": ratio, "error": error}
    file.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if ours == theirs and error <= _NEAR else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
