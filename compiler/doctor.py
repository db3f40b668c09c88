"""Doctor: does this machine have what compiling and running need?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..targets.database import known_targets, load_target
from ..targets.host import read_machine
from ..targets.toolchain import Toolchain, find_toolchain
from .environments import ENVIRONMENTS

_OLDEST_PYTHON = (3, 11)
_TIMEOUT_SECONDS = 120
_PACKAGE = "tilewright"
_PROGRAM = "#include <math.h>\ndouble f(double x) { return sin(x); }\n"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what.
        verdict: "ok", "missing" (something optional) or "bad" (something needed).
        detail: what was found, or what to do.
    """

    subject: str
    verdict: str
    detail: str


def examine() -> Iterator[Finding]:
    """Look at Python, the packages, the C compiler and the CPU, and yield a finding for each."""
    yield _python()
    yield from _packages()
    yield _tvm()
    yield from _toolchain()
    yield from _machine()
    yield from _environments()


def _python() -> Finding:
    found = platform.python_version()
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return Finding("python", "bad", f"{found}: install Python {'.'.join(map(str, _OLDEST_PYTHON))} or newer")
    return Finding("python", "ok", f"{found}, {sys.executable}")


def _packages() -> Iterator[Finding]:
    """Compare what is installed with what the package's own metadata asks for."""
    for requirement in importlib.metadata.requires(_PACKAGE) or ():
        wanted, _, condition = requirement.partition(";")
        name = wanted.split("=")[0].split(">")[0].split("<")[0].strip(" ~!")
        extra = condition.partition("extra ==")[2].strip(" \"'")
        if extra and extra != "bench":
            continue
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            advice = (
                f"for side-by-side measurements: pip install {name}" if extra else f"pip install '{wanted.strip()}'"
            )
            yield Finding(name, "missing" if extra else "bad", f"not installed; {advice}")
            continue
        pinned = wanted.partition("==")[2].strip()
        # "2.13.0+cpu" is a build of 2.13.0: a pin without a local label takes every one (PEP 440).
        if pinned and pinned not in (found, found.partition("+")[0]):
            yield Finding(name, "bad", f"{found}, but {pinned} is needed: pip install '{wanted.strip()}'")
        else:
            yield Finding(name, "ok", found)


def _tvm() -> Finding:
    """Import TVM in a process of its own, which may die without taking this one along."""
    code = "import tvm, tvm.relax; tvm.target.Target({'kind': 'llvm'}); print(tvm.__version__)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Finding("tvm loads", "bad", f"importing it takes more than {_TIMEOUT_SECONDS} s")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        return Finding("tvm loads", "bad", lines[-1])
    return Finding("tvm loads", "ok", f"{done.stdout.strip()}, with LLVM")


def _toolchain() -> Iterator[Finding]:
    try:
        toolchain = find_toolchain(load_target("host"))
    except UserError as error:
        yield Finding("C compiler", "bad", str(error))
        return
    yield Finding("C compiler", "ok", f"{' '.join(toolchain.cc)}: {toolchain.version}")
    yield Finding("archiver", "ok", " ".join(toolchain.ar))
    yield _linking(toolchain)
    yield from _cross_toolchains()


def _cross_toolchains() -> Iterator[Finding]:
    """Say with what each triple of the known targets is linked, or which package would do it."""
    targets = {target.triple: target for target in map(load_target, known_targets()) if target.toolchain}
    for triple, target in sorted(targets.items()):
        try:
            found = find_toolchain(target)
        except UserError as error:
            yield Finding(f"for {triple}", "missing", str(error))
            continue
        yield Finding(f"for {triple}", "ok", f"{found.name}: {found.version}")


def _linking(toolchain: Toolchain) -> Finding:
    """Build a shared library as packaging a model does."""
    with tempfile.TemporaryDirectory(prefix="tilewright-") as folder:
        source = Path(folder) / "f.c"
        source.write_text(_PROGRAM, encoding="ascii")
        command = [
            *toolchain.cc,
            "-std=c11",
            "-O2",
            "-fPIC",
            "-shared",
            str(source),
            "-o",
            str(source.with_suffix(".so")),
            "-lm",
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Finding("linking", "bad", str(error))
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        return Finding("linking", "bad", f"{lines[0]}: install the C library's headers (libc6-dev)")
    return Finding("linking", "ok", "a shared library with libm was built")


def _machine() -> Iterator[Finding]:
    machine = read_machine()
    yield Finding(
        "CPU", "ok", f"{machine.model or machine.architecture}, {machine.cores} of {os.cpu_count()} processors"
    )
    caches = ", ".join(f"L{level} {size >> 10} KiB" for level, size in sorted(machine.caches.items()))
    yield Finding("caches", "ok" if caches else "missing", caches or "not known; those of the target's row are used")
    try:
        target = load_target("host")
    except UserError as error:
        yield Finding("target", "bad", str(error))
        return
    yield Finding("target", "ok", target.description)
    yield Finding("features", "ok", " ".join(sorted(target.features)))


def _environments() -> Iterator[Finding]:
    for environment in map(ENVIRONMENTS.__getitem__, ENVIRONMENTS.names()):
        subject = f"environment '{environment.name}'"
        if environment.is_ready():
            yield Finding(subject, "ok", f"{', '.join(environment.packages)}, in {environment.folder}")
        else:
            yield Finding(subject, "missing", f"for models of {environment.name}: {environment.remedy}")
