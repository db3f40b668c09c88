"""Models of TensorFlow and Paddle, compiled from their own files, beside what the framework computes.

``python -m benchmarks.frameworks tensorflow`` needs an environment with tilewright[tensorflow];
``python -m benchmarks.frameworks paddle`` needs ``tilewright doctor --install paddle``.
Both print a table, and end with code 1 where an output is farther from the framework's than 1e-5 of its largest
element, or, quantized, more than one unit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tilewright
from tilewright.compiler.environments import PADDLE
from tilewright.errors import UserError
from tilewright.runtime import load

_HERE = Path(__file__).parent / "framework_models"
_RELATIVE = 1e-5
_QUIET = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def _maker(framework: str) -> list[str]:
    python = {"tensorflow": Path(sys.executable), "paddle": PADDLE.python}[framework]
    return [str(python), "-P", str(_HERE / f"{framework}_models.py")]


def check(folder: Path, case: Mapping[str, Any]) -> tuple[float, float]:
    """Compile one model and run it.

    Returns:
        The largest error, relative to the largest element (quantized: in units), and what is allowed.
    """
    with np.load(folder / f"{case['name']}.npz", allow_pickle=False) as data:
        arrays = dict(data)
    inputs = {key[3:]: value for key, value in arrays.items() if key.startswith("in.")}
    wanted = {key[4:]: value for key, value in arrays.items() if key.startswith("out.")}
    artifact = tilewright.compile(
        folder / case["file"],
        input_shapes={name: value.shape for name, value in inputs.items()},
        signature=case.get("signature"),
    )
    units = case.get("units", 0)
    with load(artifact.save(folder / f"{case['name']}.so")) as model:
        call = model.bind(inputs)
        for array in call.outputs.values():
            array.reshape(-1).view(np.uint8).fill(0xFF)
        got = dict(call().items())
    if "*" in wanted and len(got) == 1:
        wanted = dict.fromkeys(got, wanted["*"])
    if set(got) != set(wanted):
        raise UserError(f"outputs are called {sorted(got)}, not {sorted(wanted)}")
    errors = [_error(got[name], wanted[name], units) for name in wanted]
    return max(errors), units or _RELATIVE


def _error(got: Any, wanted: Any, units: int) -> float:
    if got.shape != wanted.shape or got.dtype != wanted.dtype or not np.isfinite(got.astype(np.float64)).all():
        return float("inf")
    difference = np.abs(got.astype(np.float64) - wanted.astype(np.float64)).max()
    return float(difference if units else difference / np.abs(wanted).max())


def main() -> int:
    """Check every model of a framework; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("framework", choices=("tensorflow", "paddle"))
    parser.add_argument("--only", help="one model, by name")
    parser.add_argument("--folder", type=Path, help="where the models are kept for the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tilewright-") as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "cases.json").is_file():
            subprocess.run([*_maker(options.framework), str(folder)], check=True, env={**os.environ, **_QUIET})
        cases = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
        return max(_report(folder, case) for case in cases if options.only in (None, case["name"]))


def _report(folder: Path, case: Mapping[str, Any]) -> int:
    try:
        error, limit = check(folder, case)
    except UserError as refused:
        print(f"{case['name']:12} refused: {refused}", flush=True)
        return 1
    print(f"{case['name']:12} {error:9.2e} of {limit:.0e} {'ok' if error <= limit else 'TOO FAR'}", flush=True)
    return int(error > limit)


if __name__ == "__main__":
    sys.exit(main())
