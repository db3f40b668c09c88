"""Whether architectures come in from PyTorch and compute what torch computes: ``python -m benchmarks.architectures``.

Each model is compiled with fixed shapes and, where that makes sense, once for all sizes up to bounds; the libraries run
on random inputs into poisoned buffers and every output is compared with torch. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .small_language import LANGUAGE
from .small_model import Sizes, SmallModel
from .small_plain import PLAIN
from .small_vision import VISION

SMALL_MODELS = (*VISION, *LANGUAGE, *PLAIN)
LIMIT = 1e-4


@dataclass(frozen=True)
class Outcome:
    """How one model fared.

    Attributes:
        error: the largest error of any output over all sizes, relative to the output's largest element; None where it
            did not run.
        detail: why it did not.
    """

    model: str
    shapes: str
    seconds: float
    error: float | None
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether the model ran and was right."""
        return self.error is not None and self.error <= LIMIT


def check(model: SmallModel, *, dynamic: bool) -> Outcome:
    """Compile a model, run it and compare it with torch."""
    start, shapes = time.perf_counter(), "dynamic" if dynamic else "static"
    try:
        error, detail = _error(model, dynamic), ""
    except Exception as problem:  # every failure is a row of the table
        error, detail = None, f"{type(problem).__name__}: {problem}"
    return Outcome(model.name, shapes, round(time.perf_counter() - start, 2), error, detail)


def _error(model: SmallModel, dynamic: bool) -> float:
    import tilewright

    module, sizes = model.module(), [model.sizes]
    inputs = model.draw(model.sizes)
    dims = _dims(model) if dynamic else None
    artifact = tilewright.compile(module, inputs, dynamic_shapes=dims, jobs=1)
    if dynamic:
        sizes += [{**model.sizes, **each} for each in (_dynamic(model, model.bounds), _dynamic(model, {}))]
    with tempfile.TemporaryDirectory() as folder:
        loaded = tilewright.runtime.load(artifact.save(Path(folder) / "model.so"), threads=1)
        with loaded:
            return max(_run_error(model, module, loaded, each, seed) for seed, each in enumerate(sizes))


def _dynamic(model: SmallModel, sizes: Sizes) -> Sizes:
    """Return sizes of the symbols that are dynamic, 1 where none is given."""
    symbols = {text.split(" + ")[0] for text in _texts(model.dynamic)} & set(model.bounds)
    return {each: sizes.get(each, 1) for each in symbols}


def _texts(tree: Any) -> Iterator[str]:
    """Yield the dimensions in a tree of dictionaries and lists."""
    if isinstance(tree, str):
        yield tree
        return
    for each in tree.values() if isinstance(tree, Mapping) else tree:
        yield from _texts(each)


def _dims(model: SmallModel) -> dict[str, Any]:
    """Return the dynamic shapes as torch.export takes them."""
    import torch

    made: dict[str, Any] = {}

    def dim(text: str) -> Any:
        if " + " in text:
            name, other = text.split(" + ")
            return dim(name) + model.sizes[other]
        return made.setdefault(text, torch.export.Dim(text, min=1, max=model.bounds[text]))

    def tree(value: Any) -> Any:
        if isinstance(value, list):
            return [tree(each) for each in value]
        return {axis: dim(text) for axis, text in value.items()}

    return {name: tree(model.dynamic[name]) if name in model.dynamic else None for name in model.draw(model.sizes)}


def _run_error(model: SmallModel, module: Any, loaded: Any, sizes: Sizes, seed: int) -> float:
    import torch

    inputs = model.draw(sizes, seed)
    with torch.no_grad():
        wanted = [each.numpy() for each in _leaves(module(**inputs))]
    call = loaded.bind(*(each.numpy() for each in _leaves(inputs)))
    for array in call.outputs.values():
        array.reshape(-1).view(np.uint8).fill(0xFF)
    got = list(call().values())
    if len(got) != len(wanted):
        raise ValueError(f"{len(got)} outputs where torch has {len(wanted)}")
    return max(_relative(*pair) for pair in zip(got, wanted, strict=True))


def _leaves(tree: Any) -> list[Any]:
    from torch.utils import _pytree as pytree

    return [each for each in pytree.tree_leaves(tree) if each is not None]


def _relative(got: Any, wanted: Any) -> float:
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return float("inf")
    scale = float(np.abs(wanted).max()) or 1.0
    error = float(np.abs(got.astype("float64") - wanted.astype("float64")).max()) / scale
    return error if error == error else float("inf")


def run(models: list[SmallModel], kinds: tuple[str, ...]) -> Iterator[Outcome]:
    """Yield the outcome of each model, with fixed shapes and with bounds where it has some."""
    for model in models:
        for kind in kinds:
            if kind == "static" or model.dynamic:
                yield check(model, dynamic=kind == "dynamic")


def main(arguments: list[str]) -> int:
    """Check the models that the command line asks for; return 1 when one is wrong or refused."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.architectures", description=__doc__)
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--shapes", choices=("static", "dynamic"), help="one kind of shapes only")
    parser.add_argument("--out", type=Path, default=Path("build/architectures.json"))
    options = parser.parse_args(arguments)
    chosen = [model for model in SMALL_MODELS if options.only.lower() in model.name.lower()]
    outcomes = []
    print(f"{'model':<18}{'shapes':<9}{'seconds':>8}  {'error':>9}")
    for each in run(chosen, (options.shapes,) if options.shapes else ("static", "dynamic")):
        outcomes.append(each)
        told = "refused" if each.error is None else f"{each.error:.1e}"
        print(f"{each.model:<18}{each.shapes:<9}{each.seconds:>8.1f}  {told:>9}  {each.detail[:300]}", flush=True)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2) + "\n")
    passed = sum(each.passed for each in outcomes)
    print(f"{passed} of {len(outcomes)} are right (at most {LIMIT:g} from torch)")
    return 0 if passed == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
