"""Instances: side by side, shared between threads, after a fork, released, and of a library that was replaced."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plan_builder import Arrays, PlanBuilder, tiny_reference

from tilewright import runtime


def mapped(path: Path) -> bool:
    return str(path) in Path("/proc/self/maps").read_text()


def thread_count() -> int:
    return len(os.listdir("/proc/self/task"))


def test_eight_threads_on_four_instances(builder: PlanBuilder) -> None:
    """Two threads share each instance; every one of 200 runs has numbers of its own and must get their result."""
    path = builder.shared("eight_threads")
    first = runtime.load(path, threads=2)
    models = [first, *(first.new_instance() for _ in range(3))]
    assert first.instances == 4

    def work(thread: int) -> int:
        rng = np.random.default_rng(thread)
        right = 0
        for _ in range(200):
            inputs: Arrays = {
                "x": rng.standard_normal((2, 3), dtype=np.float32),
                "input.ids": rng.integers(-9, 9, 4),
            }
            buffers = {"y": np.full((2, 3), np.nan, np.float32)}
            outputs, expected = models[thread % 4](inputs, out=buffers), tiny_reference(inputs)
            right += all(np.array_equal(outputs[name], expected[name]) for name in expected)
        return right

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [200] * 8
    for model in models:
        model.close()
    assert not mapped(path)


def test_instances_run_side_by_side_and_one_instance_in_turn(builder: PlanBuilder, inputs: Arrays) -> None:
    """The plan sleeps: runs that overlap take the time of one, runs in turn the time of all."""
    seconds = 0.4
    first = runtime.load(builder.shared("sleepy", TINY_MICROSECONDS=int(seconds * 1e6)), threads=1)

    def elapsed(*models: runtime.Model) -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(model, inputs) for model in models]:
                done.result()
        return time.perf_counter() - start

    assert elapsed(first, first.new_instance(), first.new_instance()) < 2 * seconds
    assert elapsed(first, first, first) >= 3 * seconds


def test_the_interpreter_runs_on_during_a_run(builder: PlanBuilder, inputs: Arrays) -> None:
    model = runtime.load(builder.shared("sleepier", TINY_MICROSECONDS=300000), threads=1)
    runner = threading.Thread(target=model, args=(inputs,))
    runner.start()
    turns = 0
    while runner.is_alive():
        turns += 1
        time.sleep(0.001)
    assert turns > 5


def test_threads(tiny: Path, inputs: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TILEWRIGHT_NUM_THREADS", raising=False)
    assert runtime.load(tiny).threads == len(os.sched_getaffinity(0))
    monkeypatch.setenv("TILEWRIGHT_NUM_THREADS", "3")
    assert runtime.load(tiny).threads == 3
    before = thread_count()
    with runtime.load(tiny, threads=4) as model, model.new_instance(threads=2) as second:
        assert (model.threads, second.threads, second.new_instance().threads) == (4, 2, 2)
        model(inputs)
        assert thread_count() > before
    gc.collect()
    assert thread_count() <= before


def test_weights_live_until_the_last_instance_goes(builder: PlanBuilder, inputs: Arrays, expected: Arrays) -> None:
    path = builder.shared("shared_weights")
    first = runtime.load(path)
    second = first.new_instance()
    outputs = second(inputs)
    first.close()
    assert second.instances == 1
    np.testing.assert_array_equal(second(inputs)["y"], expected["y"])
    del second
    gc.collect()
    assert not mapped(path)
    np.testing.assert_array_equal(outputs["y"], expected["y"])


def test_many_loads_leak_nothing(builder: PlanBuilder, inputs: Arrays) -> None:
    """Each instance has 4 MiB of arena and a thread: 200 of them kept would be seen."""
    path = builder.shared("leaky", TINY_ARENA=4 << 20)

    def cycle(close: bool) -> None:
        model = runtime.load(path, threads=2)
        second = model.new_instance()
        model(inputs)
        second(inputs)
        if close:
            model.close()
            second.close()

    for turn in range(10):
        cycle(close=turn % 2 == 0)
    threads, memory, files = thread_count(), resident_bytes(), len(os.listdir("/proc/self/fd"))
    for turn in range(100):
        cycle(close=turn % 2 == 0)
    gc.collect()
    assert not mapped(path)
    assert thread_count() <= threads
    assert len(os.listdir("/proc/self/fd")) <= files
    assert resident_bytes() - memory < 16 << 20


def test_runs_leak_nothing(tiny: Path, inputs: Arrays) -> None:
    with runtime.load(tiny, threads=1) as model:
        for _ in range(1000):
            model(inputs)
        before = resident_bytes()
        for _ in range(20000):
            model(inputs)
        assert resident_bytes() - before < 2 << 20


def test_a_library_that_was_replaced_is_loaded_anew(builder: PlanBuilder, inputs: Arrays) -> None:
    old = runtime.load(builder.shared("replaced", TINY_BIAS="1.0f"))
    new = runtime.load(builder.shared("replaced", TINY_BIAS="100.0f"))
    assert old.path == new.path
    np.testing.assert_array_equal(new(inputs)["y"] - old(inputs)["y"], np.full((2, 3), 99, np.float32))
    again = runtime.load(new.path)
    assert again(inputs)["y"][0, 0] == 100


def test_relative_paths_and_links(tiny: Path, inputs: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny.parent)
    assert runtime.load(tiny.name)(inputs)["total"] == 7
    (tmp_path / "link.so").symlink_to(tiny)
    assert runtime.load(str(tmp_path / "link.so"))(inputs)["total"] == 7


@pytest.mark.parametrize("threads", [1, 3])
def test_after_a_fork(tiny: Path, inputs: Arrays, expected: Arrays, threads: int) -> None:
    """The child inherits an instance whose threads do not exist there; a thread of the parent runs it meanwhile."""
    model = runtime.load(tiny, threads=threads)
    model(inputs)
    stop = threading.Event()
    busy = threading.Thread(target=lambda: [model(inputs) for _ in iter(stop.is_set, True)])
    busy.start()
    try:
        context = multiprocessing.get_context("fork")
        for _ in range(5):
            queue = context.SimpleQueue()
            child = context.Process(target=_use_in_child, args=(model, inputs, queue))
            child.start()
            child.join(30)
            assert child.exitcode == 0
            for name, array in queue.get().items():
                np.testing.assert_array_equal(array, expected[name])
    finally:
        stop.set()
        busy.join()
    np.testing.assert_array_equal(model(inputs)["y"], expected["y"])


def _use_in_child(model: runtime.Model, inputs: Arrays, queue: Any) -> None:
    outputs = dict(model(inputs))
    second = model.new_instance()
    np.testing.assert_array_equal(second(inputs)["y"], outputs["y"])
    second.close()
    model.close()
    queue.put(outputs)


def test_an_inherited_model_that_is_only_closed(tiny: Path, inputs: Arrays) -> None:
    model = runtime.load(tiny, threads=3)
    model(inputs)
    child = multiprocessing.get_context("fork").Process(target=model.close)
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert model(inputs)["total"] == 7


@pytest.mark.parametrize(
    "ending", ["", "model.close()", "del model", "threading.Thread(target=forever, daemon=True).start()"]
)
def test_the_process_ends_cleanly(tiny: Path, ending: str) -> None:
    script = (
        "import sys, threading; import numpy as np; from tilewright import runtime\n"
        "model = runtime.load(sys.argv[1], threads=3)\n"
        "x, ids = np.ones((2, 3), np.float32), np.ones(4, np.int64)\n"
        "def forever():\n"
        "    while True: model(x, ids)\n"
        f"print(int(model(x, ids)['total'])); {ending}\n"
    )
    command = [sys.executable, "-c", script, str(tiny)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
