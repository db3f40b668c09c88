"""Tree ensembles: 500 trees of depth 6 over 50 features that XGBoost trained, one thread, against its peers.

    python -m benchmarks.trees

One row at a time against onnxruntime, 1000 rows at a time against XGBoost's ``inplace_predict`` (and onnxruntime).
The library runs in a loop of C; onnxruntime through an I/O binding, its quickest call from Python, whose interpreter is
part of its time; XGBoost through ``inplace_predict``. Rows rotate: no call sees the row of the one before. The
contenders take turns, and each has its fastest round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tilewright
from tilewright import runtime

Array = NDArray[Any]
TREES, DEPTH, FEATURES, ROWS = 500, 6, 50, 1000
_HERE = Path(__file__).parent


def trained(folder: Path) -> tuple[Path, Path, Array]:
    """Train the model; return its file, the same as ONNX, and rows to predict."""
    import onnxmltools
    import xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    random = np.random.default_rng(0)
    x = random.standard_normal((20000, FEATURES)).astype(np.float32)
    y = x @ random.standard_normal(FEATURES) + 3 * np.sin(3 * x[:, 0]) * x[:, 1] + 0.3 * random.standard_normal(len(x))
    model = xgboost.XGBRegressor(n_estimators=TREES, max_depth=DEPTH, learning_rate=0.05, n_jobs=2).fit(x, y)
    model.save_model(folder / "trees.json")
    converted = onnxmltools.convert_xgboost(model, initial_types=[("x", FloatTensorType([None, FEATURES]))])
    (folder / "trees.onnx").write_bytes(converted.SerializeToString())
    return folder / "trees.json", folder / "trees.onnx", random.standard_normal((ROWS, FEATURES)).astype(np.float32)


def seconds_of(call: Callable[[int], object], calls: int, budget: float) -> float:
    """Return the seconds of a call in the fastest round of ``calls``."""
    best, end = float("inf"), time.perf_counter() + budget
    while time.perf_counter() < end:
        start = time.perf_counter()
        for at in range(calls):
            call(at)
        best = min(best, (time.perf_counter() - start) / calls)
    return best


def library_seconds(harness: Path, library: Path, rows: Path, budget: float) -> float:
    """Return the seconds of a call of a library in the fastest round of the harness."""
    done = subprocess.run([harness, library, rows, str(budget)], check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["min_seconds"])


def onnxruntime_call(model: Path, rows: Array, batch: int) -> Callable[[int], object]:
    """Return a call of onnxruntime through bindings that were made before, one for each batch of rows."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    bindings = []
    for begin in range(0, len(rows), batch):
        binding = session.io_binding()
        binding.bind_cpu_input(session.get_inputs()[0].name, rows[begin : begin + batch])
        binding.bind_output(session.get_outputs()[0].name, "cpu")
        bindings.append(binding)
    return lambda at: session.run_with_iobinding(bindings[at])


def _slices(booster: Any, rows: Array, batch: int) -> Callable[[int], object]:
    return lambda at: booster.inplace_predict(rows[at * batch : (at + 1) * batch])


def measure(folder: Path, budget: float, rounds: int) -> list[tuple[int, str, float, float]]:
    """Return (batch, contender, seconds, largest difference from XGBoost) for all of them."""
    import xgboost

    model, onnx_model, rows = trained(folder)
    booster = xgboost.Booster(model_file=model)
    booster.set_param({"nthread": 1})
    reference = booster.inplace_predict(rows)
    harness, data = folder / "trees", folder / "rows.f32"
    rows.tofile(data)
    include = Path(runtime.__file__).parent / "include"
    subprocess.run(["cc", "-O2", f"-I{include}", "-o", harness, _HERE / "trees.c", "-ldl"], check=True)
    results = []
    for batch in (1, ROWS):
        library = folder / f"trees_{batch}.so"
        tilewright.compile(model, input_shapes={"x": (batch, FEATURES)}).save(library)
        with runtime.load(library, threads=1) as loaded:
            found = np.concatenate([loaded(rows[at : at + batch])[0] for at in range(0, ROWS, batch)])
        onnx_call = onnxruntime_call(onnx_model, rows, batch)
        xgboost_call, calls = _slices(booster, rows, batch), ROWS // batch
        contenders: dict[str, Callable[[], float]] = {
            "tilewright": partial(library_seconds, harness, library, data, budget),
            "onnxruntime": partial(seconds_of, onnx_call, calls, budget),
            "xgboost": partial(seconds_of, xgboost_call, min(calls, 100), budget),
        }
        best = dict.fromkeys(contenders, float("inf"))
        for _ in range(rounds):
            for name, run in contenders.items():
                best[name] = min(best[name], run())
        error = float(np.abs(found - reference).max())
        results += [(batch, name, seconds, error if name == "tilewright" else 0.0) for name, seconds in best.items()]
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.5, help="time of a contender's turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), options.seconds, options.rounds)
    own = {batch: seconds for batch, name, seconds, _ in results if name == "tilewright"}
    print(f"{TREES} trees, depth {DEPTH}, {FEATURES} features, one thread")
    for batch, name, seconds, error in results:
        note = f"largest difference from XGBoost {error:.3g}" if name == "tilewright" else ""
        print(f"  batch {batch:5d}  {name:12s} {seconds * 1e6:10.2f} us  {seconds / own[batch]:6.1f}x  {note}")


if __name__ == "__main__":
    main()
