"""Several instances of one model at once, in turns with onnxruntime: ``python -m benchmarks.side_by_side``.

A server often runs more instances than it has cores for. Each instance is a process of its own with its own threads;
all begin together and run for the same time. What counts is how many runs all of them finish in a second, beside what
one instance alone finishes: threads that spin for work that another instance's threads keep from them would lower it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

#: (instances, threads of each) for a machine of so many processors.
Setting = tuple[int, int]


def settings(processors: int) -> list[Setting]:
    """Return what to measure: alone, one instance a processor, and as many instances with all threads each."""
    return [(1, 1), (1, processors), (processors, 1), (2, processors)]


def _inputs(shapes: dict[str, tuple[tuple[int, ...], str]]) -> dict[str, Any]:
    draw = np.random.default_rng(0)
    return {
        name: draw.standard_normal(shape).astype(dtype) if "float" in dtype else np.ones(shape, dtype)
        for name, (shape, dtype) in shapes.items()
    }


def _tilewright(library: str, threads: int) -> Callable[[], Any]:
    from tilewright.runtime import load

    model = load(library, threads=threads)
    inputs = _inputs({each.name: (tuple(map(int, each.shape)), each.dtype) for each in model.inputs})
    return lambda: model(**inputs)


def _onnxruntime(path: str, threads: int) -> Callable[[], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    types = {"tensor(float)": "float32", "tensor(int64)": "int64"}
    inputs = _inputs({each.name: (tuple(each.shape), types[each.type]) for each in session.get_inputs()})
    return lambda: session.run(None, inputs)


_ENGINES = {"tilewright": _tilewright, "onnxruntime": _onnxruntime}


def _instance(engine: str, path: str, threads: int, seconds: float, begin: Any, results: Any) -> None:
    run = _ENGINES[engine](path, threads)
    for _ in range(3):
        run()
    begin.wait()
    start, runs = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        run()
        runs += 1
    results.put(runs / (time.perf_counter() - start))


def runs_a_second(engine: str, path: str, setting: Setting, seconds: float) -> float:
    """Return how many runs all instances together finish in a second."""
    instances, threads = setting
    context = multiprocessing.get_context("spawn")
    begin, results = context.Barrier(instances), context.Queue()
    arguments = (engine, path, threads, seconds, begin, results)
    processes = [context.Process(target=_instance, args=arguments, daemon=True) for _ in range(instances)]
    for each in processes:
        each.start()
    total = sum(results.get(timeout=60 + 2 * seconds) for _ in processes)
    for each in processes:
        each.join()
    return float(total)


def main(arguments: list[str]) -> int:
    """Compile, measure in turns, print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.side_by_side", description=__doc__)
    parser.add_argument("model", type=Path, help="an ONNX file of static shapes")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    import tilewright

    library = options.model.with_suffix(".so")
    tilewright.compile(options.model).save(library)
    paths = {"tilewright": str(library), "onnxruntime": str(options.model)}
    print("| instances x threads | Tilewright runs/s | onnxruntime runs/s | ratio |\n| --- | --- | --- | --- |")
    for setting in settings(len(os.sched_getaffinity(0))):
        rounds = [
            {engine: runs_a_second(engine, path, setting, options.seconds) for engine, path in paths.items()}
            for _ in range(options.rounds)
        ]
        ours, theirs = (statistics.median(each[engine] for each in rounds) for engine in paths)
        ratio = statistics.median(each["tilewright"] / each["onnxruntime"] for each in rounds)
        print(f"| {setting[0]} x {setting[1]} | {ours:.1f} | {theirs:.1f} | {ratio:.2f}x |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
