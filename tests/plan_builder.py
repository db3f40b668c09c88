"""Build a library from a plan written by hand and the real C runtime: no compiler of ours takes part."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilewright.runtime.manifest import seal

Arrays = dict[str, NDArray[Any]]

RUNTIME = Path(__file__).parents[1] / "runtime"
PLANS = Path(__file__).parent / "runtime"
INCLUDES = ["-I", str(RUNTIME / "include"), "-I", str(RUNTIME / "src")]


class PlanBuilder:
    """Builds libraries into a folder; the runtime's sources are compiled once for each prefix.

    Args:
        folder: where objects and libraries go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._objects: dict[str, list[str]] = {}

    def shared(self, name: str, plan: str = "tiny", **defines: object) -> Path:
        """Return a new shared library; ``defines`` are the plan's macros."""
        path = self.folder / f"{name}.so"
        unfinished = path.with_suffix(".unfinished")
        plan_object = self._compile(PLANS / f"{plan}_plan.c", f"{name}.plan", _macros(defines))
        _run("gcc", "-shared", "-o", str(unfinished), plan_object, *self._runtime(""), "-pthread", "-lm", "-Wl,-z,defs")
        seal(unfinished)
        return unfinished.replace(path)

    def static(self, model: str) -> Path:
        """Return a static library of the tiny plan whose functions carry the model's name as a prefix."""
        path = self.folder / f"lib{model}.a"
        plan_object = self._compile(PLANS / "tiny_plan.c", f"{model}.static", [f"-DTILEWRIGHT_MODEL={model}"])
        _run("ar", "rcs", str(path), plan_object, *self._runtime(model))
        return path

    def _runtime(self, prefix: str) -> list[str]:
        if prefix not in self._objects:
            flags = [f"-DTILEWRIGHT_MODEL={prefix}"] if prefix else []
            sources = sorted((RUNTIME / "src").glob("*.c"))
            self._objects[prefix] = [self._compile(each, f"{prefix}{each.stem}", flags) for each in sources]
        return self._objects[prefix]

    def _compile(self, source: Path, name: str, flags: list[str]) -> str:
        target = str(self.folder / f"{name}.o")
        common = ["-std=c11", "-D_DEFAULT_SOURCE", "-O1", "-g", "-fPIC", "-fvisibility=hidden", "-pthread"]
        _run("gcc", *common, *INCLUDES, *flags, "-c", str(source), "-o", target)
        return target


def tiny_reference(inputs: Arrays) -> Arrays:
    """What the tiny plan computes, by numpy."""
    scaled = inputs["x"] * np.array([2, 3, 4], np.float32) + np.float32(1)
    return {"y": scaled, "total": inputs["input.ids"].sum(), "positive": inputs["input.ids"] > 0}


def _macros(defines: dict[str, object]) -> list[str]:
    return [f"-D{name}={value}" for name, value in defines.items()]


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
