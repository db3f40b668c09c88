"""Python environments of their own, for converters whose packages do not go together with the compiler's.

One is made only by ``tilewright doctor --install NAME`` and kept in the user's cache folder. pip installs as the user
has set it up.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..registry import Registry

_SECONDS = 3600
_RECORD = "tilewright.json"


@dataclass(frozen=True)
class Environment:
    """An environment.

    Attributes:
        name: its name for ``doctor --install``.
        packages: pinned requirements.
    """

    name: str
    packages: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it is: under $XDG_CACHE_HOME, or ~/.cache (XDG Base Directory Specification)."""
        cache = os.environ.get("XDG_CACHE_HOME", "")
        # The specification: a path that is not absolute is to be ignored.
        base = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"
        return base / "tilewright" / "environments" / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def remedy(self) -> str:
        """The command that makes it."""
        return f"tilewright doctor --install {self.name}"

    def is_ready(self) -> bool:
        """Whether it is there, with these packages and for this Python."""
        try:
            found = json.loads((self.folder / _RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(found == self._record()) and self.python.exists()

    def install(self) -> None:
        """Make it, in place of one that is there; nothing changes where that fails.

        Raises UserError with the last line of what pip or venv said.
        """
        around = self.folder.parent
        try:
            around.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=f".{self.name}.", dir=around))
        except OSError as error:
            raise UserError(f"cannot write '{around}': {error.strerror}") from error
        try:
            self._call([sys.executable, "-m", "venv", str(made)])
            self._call([str(made / "bin" / "python"), "-m", "pip", "install", "--quiet", *self.packages])
            (made / _RECORD).write_text(json.dumps(self._record()), encoding="utf-8")
            # Only its interpreter is used, which finds its packages by where it lies: renaming is safe.
            shutil.rmtree(self.folder, ignore_errors=True)
            os.replace(made, self.folder)
        except OSError as error:
            raise UserError(f"cannot write '{self.folder}': {error.strerror}") from error
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def _record(self) -> dict[str, object]:
        return {"packages": list(self.packages), "python": list(sys.version_info[:2])}

    def _call(self, command: list[str]) -> None:
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise UserError(f"{self.remedy}: '{' '.join(command)}' takes more than {_SECONDS} s") from error
        if done.returncode:
            lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            said = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "it says nothing")
            raise UserError(f"{self.remedy}: '{' '.join(command)}' fails: {said}")


ENVIRONMENTS: Registry[Environment] = Registry("environment")
#: paddle2onnx needs an onnx of its own (<= 1.17), and would install onnxruntime by itself where that is missing.
PADDLE = ENVIRONMENTS.add(
    "paddle", Environment("paddle", ("paddlepaddle==3.3.1", "paddle2onnx==2.1.0", "onnxruntime", "setuptools"))
)
