"""The runtime is light: no compiler, no framework, no wait."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

HEAVY = ("tvm", "tvm_ffi", "onnx", "torch", "onnxruntime", "transformers", "sklearn", "click", "rich")
COMPILER = tuple(f"tilewright.{part}" for part in ("compiler", "optimizer", "passes", "schedules", "targets"))
LIMIT = 0.150


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_nothing_heavy_is_imported(tiny: Path) -> None:
    """Neither by the import nor by a first run."""
    script = (
        "import json, sys; import numpy as np; import tilewright.runtime as runtime\n"
        "runtime.load(sys.argv[1])(np.ones((2, 3), np.float32), np.ones(4, np.int64))\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    modules = set(json.loads(run(script, str(tiny))))
    assert "tilewright.runtime" in modules
    assert not modules & set(HEAVY)
    assert not [name for name in modules if name.startswith(COMPILER)]


def test_import_is_quick() -> None:
    """With numpy, in a fresh process; processor time, and the best of five, because other programs run here too."""
    script = "import time; start = time.process_time(); import tilewright.runtime; print(time.process_time() - start)"
    seconds = [float(run(script)) for _ in range(5)]
    assert min(seconds) < LIMIT, f"best {min(seconds):.3f} s, median {statistics.median(seconds):.3f} s"
