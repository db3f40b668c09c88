"""Tilewright: compile trained models into one self-contained native library.

The public names load on first use, so that ``import tilewright`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import UserError

if TYPE_CHECKING:
    from .compiler.api import CompileRequest as CompileRequest
    from .compiler.api import compile as compile
    from .compiler.package.artifact import Artifact as Artifact

__version__ = "0.1.0"
__all__ = ["Artifact", "CompileRequest", "UserError", "__version__", "compile", "runtime"]

_HOMES = {"compile": ".compiler.api", "CompileRequest": ".compiler.api", "Artifact": ".compiler.package.artifact"}


def __getattr__(name: str) -> Any:
    if name == "runtime":
        return importlib.import_module(".runtime", __name__)
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module 'tilewright' has no attribute '{name}'")
