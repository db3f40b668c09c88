"""Converters: scripts that turn a framework's model into an ONNX file, each in a process of its own.

The process keeps what a framework brings along (its LLVM, its protobuf, its log, its crashes) away from the compiler,
and lets a framework live in another environment. A script is given the path of a JSON request and answers beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UserError

_SECONDS = 1800
#: Longer lines are cut: frameworks print whole graphs.
_LONGEST = 300


@dataclass(frozen=True)
class Converter:
    """A script and the interpreter that runs it.

    Attributes:
        framework: what errors call it.
        script: a file that imports nothing of this package; it gets the request's path as its only argument, and
            writes ``{"refused": sentence}`` to the request's ``answer`` for a model that it cannot take.
        python: the interpreter.
        environment: variables set besides those of this process.
        seconds: how long it may run.
    """

    framework: str
    script: Path
    python: Path = Path(sys.executable)
    environment: Mapping[str, str] | None = None
    seconds: float = _SECONDS

    def run(self, model: Path, onnx: Path, **options: Any) -> None:
        """Convert a model to an ONNX file; the request and its answer lie beside that file.

        Raises UserError when the script refuses the model, fails, or takes too long.
        """
        request, answer = onnx.with_suffix(".request.json"), onnx.with_suffix(".answer.json")
        asked = {"model": str(model), "onnx": str(onnx), "answer": str(answer), **options}
        request.write_text(json.dumps(asked), encoding="utf-8")
        said = self._call(model, request)
        refused = json.loads(answer.read_text(encoding="utf-8")).get("refused") if answer.is_file() else None
        if refused:
            raise UserError(f"{model}: {refused}")
        if said is not None or not onnx.is_file():
            raise UserError(
                f"{model}: {self.framework}'s converter fails: {said or 'it wrote nothing'}; "
                "export the model to ONNX by other means and compile that file"
            )

    def _call(self, model: Path, request: Path) -> str | None:
        """Run the script; return None where it went well, or what it said last."""
        # -P: the script's own folder is no place to import from.
        command = [str(self.python), "-P", str(self.script), str(request)]
        log = request.with_suffix(".log")
        try:
            with log.open("wb") as sink:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **(self.environment or {})},
                    timeout=self.seconds,
                    cwd=request.parent,
                )
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"{model}: {self.framework}'s converter takes more than {self.seconds:.0f} s: "
                "export the model to ONNX yourself and compile that file"
            ) from error
        except OSError as error:
            raise UserError(f"{model}: cannot run '{self.python}': {error.strerror}") from error
        return _last_line(log) if done.returncode else None


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 65536))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:_LONGEST].rstrip(".") if lines else "it says nothing"
