"""What a library needs: files beside it, bytes, time to start, memory; and what compiling it takes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilewright.targets.database import load_target
from tilewright.targets.toolchain import find_toolchain

_ROOT = Path(__file__).resolve().parents[1]
_COMMAND = Path(sys.executable).with_name("tilewright")
_SAMPLE_SECONDS = 0.05
_REPEAT = 9

_FIRST_OUTPUT = """
import sys, numpy, tilewright.runtime
model = tilewright.runtime.load(sys.argv[1], threads=1)
model({spec.name: numpy.zeros(spec.shape, spec.dtype) for spec in model.inputs})
"""


@dataclass(frozen=True)
class Compilation:
    """What one cold compilation took: wall time, and the peak of the memory of all its processes together."""

    seconds: float
    peak_bytes: int


def compile_cold(model: Path, library: Path) -> Compilation:
    """Compile with the command line and no option, in processes of its own. Raises RuntimeError on failure."""
    library.parent.mkdir(parents=True, exist_ok=True)
    command = [str(_COMMAND), "compile", str(model), "-o", str(library)]
    start = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        peak = [0]
        watcher = threading.Thread(target=_watch, args=(process, peak))
        watcher.start()
        code = process.wait()
        seconds = time.perf_counter() - start
        watcher.join()
        log.seek(0)
        text = log.read().decode(errors="replace")
    if code:
        raise RuntimeError(f"{model.name} does not compile (exit code {code}):\n{text}")
    return Compilation(seconds, peak[0])


def _watch(process: subprocess.Popen[bytes], peak: list[int]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], sum(map(_proportional_bytes, _family(process.pid))))
        time.sleep(_SAMPLE_SECONDS)


def _family(pid: int) -> list[int]:
    """Return a process and all below it."""
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        for children in Path(f"/proc/{found[-1]}/task").glob("*/children"):
            try:
                waiting.extend(int(each) for each in children.read_text().split())
            except OSError:
                continue
    return found


def _proportional_bytes(pid: int) -> int:
    """Return the memory of a process, a page that n processes share counted as its nth part."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def needed_libraries(library: Path) -> list[str]:
    """Return what the dynamic loader brings in for a library, by ``ldd``."""
    done = subprocess.run(["ldd", str(library.resolve())], capture_output=True, text=True, check=True)
    return sorted(Path(line.split()[0]).name for line in done.stdout.splitlines() if line.strip())


def exported_symbols(library: Path) -> list[str]:
    """Return the names a library defines for others."""
    command = ["nm", "--dynamic", "--defined-only", "--format=posix", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return sorted(line.split()[0] for line in done.stdout.splitlines())


def start_in_c(library: Path) -> dict[str, Any]:
    """Return the medians of ``start.c`` over several processes: seconds to open, seconds of the first run, memory."""
    toolchain = find_toolchain(load_target("host"))
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "start"
        include = f"-I{_ROOT / 'runtime/include'}"
        source = str(_ROOT / "benchmarks/start.c")
        subprocess.run([*toolchain.cc, "-std=c11", "-O2", include, source, "-o", str(program), "-ldl"], check=True)
        command = [str(program), str(library.resolve())]
        runs = [
            json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            for _ in range(_REPEAT)
        ]
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def start_in_python(library: Path) -> float:
    """Return the median seconds from the start of a Python process to the end of it, after the model's first output."""
    command = [sys.executable, "-c", _FIRST_OUTPUT, str(library.resolve())]
    subprocess.run(command, check=True)
    seconds = []
    for _ in range(_REPEAT):
        start = time.perf_counter()
        subprocess.run(command, check=True)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
