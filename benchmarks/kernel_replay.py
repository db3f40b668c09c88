"""Which kernels differ between two commits: ``python -m benchmarks.kernel_replay COMMIT [COMMIT]``.

Both commits are checked out in a temporary folder, each compiles the same models up to the schedule phase, and the
kernels of equal workloads are compared as text. The second commit is the one at hand when none is named. Layouts are no
part of what makes workloads equal: a kernel that got another layout shows as one that differs.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .models import DEFAULT_FOLDER

_ROOT = Path(__file__).resolve().parents[1]
#: What a checkout runs: it knows nothing of this file, so that commits before it can be compared, too.
_LIST_KERNELS = """
import json, sys
from pathlib import Path
from tilewright.compiler.api import CompileRequest, compile_model
from tvm.tirx import PrimFunc
kernels = []
def note(event):
    if event.name != "schedule":
        return
    for variable, function in event.module.functions_items():
        if isinstance(function, PrimFunc):
            attrs = function.attrs
            row = [variable.name_hint, str(attrs["tilewright.workload"]), str(attrs["tilewright.template"])]
            for name in [name for name in attrs.keys() if name.startswith("tilewright.")]:
                function = function.without_attr(name)
            kernels.append([*row, function.script()])
compile_model(CompileRequest(Path(sys.argv[1]), target=sys.argv[2], stop_after="schedule"), note)
print(json.dumps(kernels))
"""


@dataclass(frozen=True)
class Kernel:
    """A kernel that one of the commits makes: its workload without layouts, its template, its text."""

    name: str
    workload: str
    template: str
    text: str

    @property
    def summary(self) -> str:
        """What it computes, in a line."""
        work = json.loads(self.workload)
        shapes = ["x".join(map(str, each["shape"])) or "scalar" for each in (*work["inputs"], *work["outputs"])]
        arity = len(work["inputs"])
        return f"{self.name}: {', '.join(shapes[:arity])} -> {', '.join(shapes[arity:])}"


def kernels_of(checkout: Path, model: Path, target: str) -> list[Kernel]:
    """Return the kernels that a checkout makes of a model."""
    environment = os.environ | {"PYTHONPATH": f"{checkout / 'src'}"}
    done = subprocess.run(
        [sys.executable, "-c", _LIST_KERNELS, str(model.resolve()), target],
        capture_output=True, text=True, cwd=checkout, env=environment, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{model.name} cannot be compiled at {checkout.name}:\n{done.stderr.strip()[-2000:]}")
    return [Kernel(name, _logical(work), *rest) for name, work, *rest in json.loads(done.stdout.splitlines()[-1])]


def _logical(workload: str) -> str:
    work: dict[str, Any] = json.loads(workload)
    for operand in (*work["inputs"], *work["outputs"]):
        operand.pop("layout")
    return json.dumps(work, sort_keys=True)


def compare(before: list[Kernel], after: list[Kernel]) -> list[tuple[str, list[str]]]:
    """Return which kernels are gone (-), new (+) or different (~), each as a line with the lines that differ."""
    changes: list[tuple[str, list[str]]] = []
    ours = {each.workload: [other for other in after if other.workload == each.workload] for each in (*before, *after)}
    for workload, new in ours.items():
        old = [each for each in before if each.workload == workload]
        if Counter(each.text for each in old) == Counter(each.text for each in new):
            continue
        mark = "~" if old and new else "-" if old else "+"
        templates = " -> ".join(dict.fromkeys(each.template for each in (*old[:1], *new[:1])))
        texts = (old[0].text.splitlines(), new[0].text.splitlines()) if old and new else ([], [])
        difference = list(difflib.unified_diff(*texts, "before", "after", lineterm="", n=1))
        changes.append((f"  {mark} {(new or old)[0].summary}  [{templates}]", difference))
    return changes


@contextmanager
def checkout(commit: str, folder: Path) -> Iterator[Path]:
    """Check a commit out in a worktree of the repository, for as long as the block lasts."""
    path = folder / commit.replace("/", "-")
    subprocess.run(["git", "worktree", "add", "--detach", "-q", str(path), commit], cwd=_ROOT, check=True)
    try:
        yield path
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(path)], cwd=_ROOT, check=True)


def replay(options: argparse.Namespace) -> bool:
    """Print the comparison of each model; return whether anything differs."""
    changed = False
    with (
        tempfile.TemporaryDirectory() as folder,
        checkout(options.before, Path(folder, "before")) as old,
        checkout(options.after, Path(folder, "after")) as new,
    ):
        for model in options.models:
            before, after = (kernels_of(each, model, options.target) for each in (old, new))
            changes = compare(before, after)
            print(f"{model.stem}: {len(after)} kernels, {len(changes) or 'none'} changed", flush=True)
            for line, difference in changes:
                print(line, *(f"      {each}" for each in difference if options.show), sep="\n")
            changed |= bool(changes)
    return changed


def main(arguments: list[str] | None = None) -> int:
    """Compare; return 1 when kernels differ."""
    parser = argparse.ArgumentParser(description="List the kernels that differ between two commits.")
    parser.add_argument("before", metavar="COMMIT", help="the commit to compare with")
    parser.add_argument("after", metavar="COMMIT", nargs="?", default="HEAD", help="default: %(default)s")
    parser.add_argument("--models", nargs="+", type=Path, metavar="ONNX", help=f"default: all of {DEFAULT_FOLDER}")
    parser.add_argument("--target", default="x86-64-v4", help="default: %(default)s")
    parser.add_argument("--show", action="store_true", help="print the differences line by line")
    options = parser.parse_args(arguments)
    options.models = options.models or sorted(DEFAULT_FOLDER.glob("*.onnx"))
    if not options.models:
        parser.error(f"no models in {DEFAULT_FOLDER}: write some (python -m benchmarks.models), or name them")
    return int(replay(options))


if __name__ == "__main__":
    sys.exit(main())
