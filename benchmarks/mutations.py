"""Damaged models: ``python -m benchmarks.mutations [--count N] [--compile] [--seed S] [--only TEXT]``.

Models of onnx's backend tests are damaged at random, bytes of the file or parts of the message, and imported, in worker
processes with little memory. Every one must be taken or end in one sentence (``UserError``) within seconds; tracebacks,
crashes and hangs are printed with their number, which makes them anew (``--first N --count 1``).
"""

from __future__ import annotations

import argparse
import collections
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.backend_tests import Case, cases  # noqa: E402 - this file may be run by path
from benchmarks.mutate import mutated  # noqa: E402
from benchmarks.workers import run_jobs  # noqa: E402

#: Seconds that a model may take, and bytes that a process may have.
LIMIT, MEMORY = 60.0, 6 * 2**30


@dataclass(frozen=True)
class Verdict:
    """What became of a damaged model: "taken", "refused", "too long" a sentence, or an "error" with its last line."""

    number: int
    test: str
    kind: str
    reason: str = ""


def judge(number: int, case: Case, folder: Path, seed: int, whole: bool = False) -> Verdict:
    """Return what becomes of a test's model, damaged as a number says.

    Args:
        whole: whether to compile what is imported.
    """
    from tilewright.compiler.api import CompileRequest, compile_model
    from tilewright.compiler.frontends.onnx import import_onnx
    from tilewright.errors import UserError

    path = folder / "model.onnx"
    path.write_bytes(mutated(case.model, np.random.default_rng((seed, number))))
    try:
        if whole:
            compile_model(CompileRequest(path, jobs=1))
        else:
            import_onnx(path)
    except UserError as error:
        told = str(error)
        return Verdict(number, case.name, "too long" if "\n" in told else "refused", told)
    except Exception as error:  # noqa: BLE001 - the sweep goes on
        lines = str(error).strip().split("\n")
        return Verdict(number, case.name, "error", f"{type(error).__name__}: {lines[0][:200]} ... {lines[-1][:200]}")
    return Verdict(number, case.name, "taken")


def run_all(numbers: Sequence[int], only: str, seed: int, whole: bool, workers: int = 1) -> Iterator[Verdict]:
    """Yield the verdicts of numbers, each made in a worker process."""
    jobs = [(number, only, seed, whole) for number in numbers]
    for number, made in zip(numbers, run_jobs(_runner, jobs, workers, LIMIT), strict=True):
        if isinstance(made, Verdict):
            yield made
        else:
            yield Verdict(number, "", "hang" if isinstance(made, TimeoutError) else "crash", str(made))


def _runner() -> Callable[[Any], Verdict]:
    """Return what a worker does: from a number to its verdict."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    found: dict[str, list[Case]] = {}

    def run(job: tuple[int, str, int, bool]) -> Verdict:
        number, only, seed, whole = job
        if only not in found:
            found[only] = [each for each in cases(["node", "simple"]) if only in each.name]
        with tempfile.TemporaryDirectory() as folder:
            return judge(number, found[only][number * 7919 % len(found[only])], Path(folder), seed, whole)

    return run


def main() -> None:
    """Run the sweep, print what is neither taken nor refused, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="how many models")
    parser.add_argument("--first", type=int, default=0, help="the first one's number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="tests whose name holds this")
    parser.add_argument("--compile", action="store_true", help="compile what is imported, too")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args()
    onnx.defs.onnx_opset_version()
    counts: collections.Counter[str] = collections.Counter()
    numbers = range(options.first, options.first + options.count)
    for verdict in run_all(numbers, options.only, options.seed, options.compile, options.workers):
        counts[verdict.kind] += 1
        if verdict.kind not in ("taken", "refused"):
            print(f"{verdict.number} {verdict.test}: {verdict.kind}: {verdict.reason}", flush=True)
    print(", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    sys.exit(set(counts) > {"taken", "refused"})


if __name__ == "__main__":
    main()
