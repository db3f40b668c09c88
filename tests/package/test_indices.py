"""Whatever indices a caller passes, a library reads and writes inside its buffers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx_models import Array, model_of

import tilewright

RUNNER = Path(__file__).with_name("guarded_run.py")
DATA = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
UPDATES = np.random.default_rng(1).standard_normal((2, 4)).astype("float32")
LONG = np.iinfo("int64")
ABSURD = (LONG.min, -(2**31) - 1, -(2**31), -1000000, -5, 5, 1000000, 2**31 - 1, 2**31, 2**32, LONG.max)

#: Name: operator, which operands are inputs and constants (the indices are "i"), the shape of the indices, attributes.
CASES: dict[str, tuple[str, list[str], dict[str, Array], tuple[int, ...], dict[str, Any]]] = {
    "gather": ("Gather", ["x", "i"], {}, (11,), {"axis": 0}),
    "gather-columns": ("Gather", ["x", "i"], {}, (11,), {"axis": 1}),
    "embedding": ("Gather", ["x", "i"], {"x": DATA}, (11,), {"axis": 0}),
    "gather-elements": ("GatherElements", ["x", "i"], {}, (3, 11), {"axis": 1}),
    "gather-nd": ("GatherND", ["x", "i"], {}, (11, 2), {}),
    "scatter-elements": ("ScatterElements", ["x", "i", "u"], {}, (2, 4), {"axis": 1}),
    "scatter-nd": ("ScatterND", ["x", "i", "u"], {}, (2, 1), {}),
    "one-hot": ("OneHot", ["i", "d", "v"], {"d": np.int64([4]), "v": np.float32([0, 1])}, (11,), {}),
    "reverse-sequence": ("ReverseSequence", ["x", "i"], {}, (3,), {"batch_axis": 0, "time_axis": 1}),
}  # fmt: skip


def indices(shape: tuple[int, ...]) -> list[Array]:
    """Return tensors of absurd indices: all of them appear, in an order of their own."""
    order = np.random.default_rng(2)
    count = int(np.prod(shape))
    values = [value for _ in range(-(-count // len(ABSURD))) for value in order.permutation(np.array(ABSURD))]
    return [np.array(values[:count], "int64").reshape(shape), np.full(shape, LONG.max), np.full(shape, LONG.min)]


def run_guarded(library: Path, inputs: Mapping[str, Array], side: str, folder: Path) -> Array:
    np.savez(folder / "inputs.npz", **inputs)
    files = [library, folder / "inputs.npz", folder / "outputs.npz"]
    done = subprocess.run([sys.executable, RUNNER, *files, side], capture_output=True, text=True)
    assert done.returncode == 0, f"{side}: {done.returncode} {done.stderr}"
    with np.load(folder / "outputs.npz") as outputs:
        result: Array = outputs["y"]
    return result


@pytest.mark.parametrize("name", CASES)
def test_absurd_indices(name: str, tmp_path: Path) -> None:
    """The data is an input, so that it lies beside forbidden memory; what comes out is one of its elements."""
    operator, operands, constants, shape, attributes = CASES[name]
    given: dict[str, Array] = {"x": DATA, "u": UPDATES, "i": np.zeros(shape, "int64")}
    inputs = {each: given[each] for each in operands if each not in constants}
    node = helper.make_node(operator, operands, ["y"], **attributes)
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of([node], inputs, constants).SerializeToString())
    library = tilewright.compile(path, jobs=1).save(tmp_path / "model.so")
    known = np.concatenate([DATA.ravel(), UPDATES.ravel(), np.float32([0, 1])])
    for absurd in indices(shape):
        for side in ("front", "back"):
            result = run_guarded(library, inputs | {"i": absurd}, side, tmp_path)
            assert np.isin(result, known).all()
