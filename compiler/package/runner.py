"""Build ``tilewright-runner``, the program that runs libraries on a board, for a target."""

from __future__ import annotations

import subprocess
import tempfile
from importlib import resources
from pathlib import Path
from typing import IO

from ...errors import UserError
from ...targets.target import Target
from ...targets.toolchain import find_toolchain
from ..files import check_writable, write_file

_FLAGS = ("-std=c11", "-Os", "-g0", "-pthread", "-ffunction-sections", "-Wl,--gc-sections", "-Wl,-s")


def build_runner(target: Target, path: Path, toolchain: str | None = None) -> Path:
    """Compile the runner and write it to a path; return the path.

    Raises UserError for a target without an operating system, and when there is no toolchain or the file cannot be
    written.
    """
    if target.arch == "c":
        raise UserError(f"target '{target.name}' has no operating system, which the runner needs: name another")
    check_writable(path)
    found = find_toolchain(target, toolchain)
    root = resources.files(f"{__package__.split('.')[0]}.runtime")
    with tempfile.TemporaryDirectory(prefix="tilewright-") as name:
        folder = Path(name)
        for part in (*root.joinpath("runner").iterdir(), root.joinpath("include", "tilewright.h")):
            (folder / part.name).write_bytes(part.read_bytes())
        sources = sorted(file.name for file in folder.glob("*.c"))
        # zig links programs for musl statically, and those cannot load libraries.
        dynamic = ["-dynamic"] if found.name.startswith("zig") else []
        command = [*found.cc, *_FLAGS, *dynamic, *sources, "-o", "tilewright-runner", "-ldl"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise UserError(f"'{' '.join(found.cc)}' cannot build the runner: {done.stderr.strip()[:500]}")
        program = (folder / "tilewright-runner").read_bytes()
    write_file(path, lambda file: _write(file, program))
    path.chmod(0o755)
    return path


def _write(file: IO[bytes], data: bytes) -> None:
    file.write(data)
