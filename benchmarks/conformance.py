"""ONNX's own backend tests: ``python -m benchmarks.conformance [--only TEXT] [--kinds ...] [--failures] [--csv PATH]``.

``python -m benchmarks.conformance --read build/conformance.csv --page docs/operators.md`` writes the counts of a table
that was made into the documentation.

Every test's model is compiled to a library that the runtime loads and runs; its outputs are compared with onnx's, with
the tolerances of onnx's own runner. Tests run in worker processes, so that one that crashes or hangs is a line of the
table. Inputs that shape results are made constants where the compiler wants them so; the table names them.

The peers' columns come from ``baselines/onnx_conformance.csv``, measured with the same tests.
"""

from __future__ import annotations

import argparse
import collections
import csv
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.backend_tests import KINDS, Case, Result, cases, run_case  # noqa: E402 - this file may be run by path
from benchmarks.workers import run_jobs  # noqa: E402

PEERS = Path(__file__).parent / "baselines" / "onnx_conformance.csv"
#: The peers' columns of the table.
PEER_NAMES = ("onnxruntime", "openvino", "stock_tvm")
BEGIN, END = "<!-- conformance -->\n", "<!-- end of conformance -->\n"
#: Seconds that a test may take.
LIMIT = 120.0


def main() -> None:
    """Run the sweep, write the table, print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="tests whose name holds this")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS, help="sets of tests")
    parser.add_argument("--stride", type=int, default=1, help="one test of so many")
    parser.add_argument("--failures", action="store_true", help="print every test that did not pass")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="processes")
    parser.add_argument("--csv", type=Path, help="write every test's result, with the peers' beside it")
    parser.add_argument("--read", type=Path, help="run nothing: read the results of a table")
    parser.add_argument("--page", type=Path, help="write the counts into a document, between its marks")
    options = parser.parse_args()
    peers = read_peers()
    results = read_table(options.read) if options.read else _run(options)
    if options.csv:
        write_table(options.csv, results, peers)
    if options.page:
        options.page.write_text(with_counts(options.page.read_text(), results, peers))
    print(summary(results, peers))


def _run(options: argparse.Namespace) -> list[Result]:
    chosen = [case for case in cases(options.kinds) if options.only in case.name][:: options.stride]
    results = []
    for result in run_all(chosen, options.workers):
        results.append(result)
        if options.failures and result.verdict != "pass":
            print(f"{result.test}: {result.verdict}: {result.reason}", flush=True)
    return results


def run_all(chosen: Sequence[Case], workers: int = 1, limit: float = LIMIT) -> Iterable[Result]:
    """Yield the results of cases, in their order, each run in a worker process."""
    jobs = [(case.kind, case.name) for case in chosen]
    for case, made in zip(chosen, run_jobs(_runner, jobs, workers, limit), strict=True):
        if isinstance(made, Result):
            yield made
        else:
            verdict = "timeout" if isinstance(made, TimeoutError) else "crash"
            yield Result(case.kind, case.name, " ".join(case.operators), verdict, str(made) or f"over {limit:g} s")


def _runner() -> Callable[[Any], Result]:
    """Return what a worker does: from a test's kind and name to its result."""
    known: dict[str, dict[str, Case]] = {}

    def run(job: tuple[str, str]) -> Result:
        kind, name = job
        if kind not in known:
            known[kind] = {case.name: case for case in cases([kind])}
        with tempfile.TemporaryDirectory() as folder:
            return run_case(known[kind][name], Path(folder))

    return run


def read_peers() -> dict[tuple[str, str], dict[str, str]]:
    """Return the peers' verdicts by kind and test."""
    with PEERS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["kind"], row["test"]): {peer: row[peer] for peer in PEER_NAMES} for row in rows}


def write_table(path: Path, results: Sequence[Result], peers: dict[tuple[str, str], dict[str, str]]) -> None:
    """Write one row for each test: ours, then the peers' verdicts."""
    own = [each.name for each in fields(Result) if each.name != "seconds"]
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, [*own, *PEER_NAMES], extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        for result in results:
            table.writerow({**result.as_dict(), **peers.get((result.kind, result.test), {})})


def read_table(path: Path) -> list[Result]:
    """Return the results of a table that was written."""
    with path.open(newline="") as file:
        return [
            Result(row["kind"], row["test"], row["operators"], row["verdict"], row["reason"], row["constants"])
            for row in csv.DictReader(file)
        ]


def counts(results: Sequence[Result], peers: dict[tuple[str, str], dict[str, str]]) -> list[tuple[str, int, list[int]]]:
    """Return, for each set of tests and for all, its name, its size, and how many of it pass: ours, then the peers'."""
    rows = []
    for kind in (*KINDS, "all"):
        chosen = [each for each in results if kind in (each.kind, "all")]
        passed = [sum(each.verdict == "pass" for each in chosen)]
        passed += [
            sum(peers.get((each.kind, each.test), {}).get(peer) == "pass" for each in chosen) for peer in PEER_NAMES
        ]
        rows += [(kind, len(chosen), passed)] if chosen else []
    return rows


def with_counts(text: str, results: Sequence[Result], peers: dict[tuple[str, str], dict[str, str]]) -> str:
    """Return a document with the counts between its marks. Raises ValueError without the marks."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the document lacks the marks {BEGIN.strip()} and {END.strip()}")
    lines = [f"| | tests | Tilewright | {' | '.join(PEER_NAMES)} |", "|---" * (3 + len(PEER_NAMES)) + "|"]
    for kind, size, passed in counts(results, peers):
        lines.append(
            f"| {kind} | {size} | " + " | ".join(f"{each} ({100 * each / size:.1f} %)" for each in passed) + " |"
        )
    verdicts = collections.Counter(each.verdict for each in results)
    told = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    held = sum(each.verdict == "pass" and bool(each.constants) for each in results)
    told = f"Tilewright's verdicts: {told}; {held} of those that pass hold an input as a constant."
    return before + BEGIN + "\n".join([*lines, "", told, ""]) + END + after


def summary(results: Sequence[Result], peers: dict[tuple[str, str], dict[str, str]]) -> str:
    """Return how many tests passed, by kind, and the verdicts of those that did not."""
    lines = [f"{'':18}{'tests':>7}{'tilewright':>12}" + "".join(f"{peer:>13}" for peer in PEER_NAMES)]
    for kind, size, passed in counts(results, peers):
        shares = [f"{count} {100 * count / size:5.1f}%" for count in passed]
        lines.append(f"{kind:18}{size:>7}{shares[0]:>12}" + "".join(f"{each:>13}" for each in shares[1:]))
    verdicts = collections.Counter(each.verdict for each in results)
    held = sum(each.verdict == "pass" and bool(each.constants) for each in results)
    lines.append(", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()))
    lines.append(f"{held} of those that pass hold an input as a constant")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
