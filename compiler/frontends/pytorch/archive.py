"""Reading a .pt2 archive that may be anything: torch unpickles parts of it and evaluates others, so look first."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ....errors import UserError
from .sentences import first_line

#: torch stores tensors uncompressed: an archive that unpacks to more than this many times its size is no honest one.
_MOST_EXPANSION = 16
_MOST_JSON = 2**28
#: What an expression over dimensions may call; anything else would be Python code, which sympy evaluates.
_FUNCTIONS = re.compile(
    "Symbol|Integer|Float|Rational|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|CeilToInt|FloorToInt|IntTrueDiv|"
    "FloatTrueDiv|ToFloat|TruncToInt|RoundToInt|Where|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Abs|PowByNatural|ModularIndexing|"
    "LShift|RShift|Identity"
)
_CALL = re.compile(r"([A-Za-z_]\w*)\s*\(")
_STRANGE = re.compile(r"__|[^\w\s'(),=<>!&|~+*/%.-]|\.\s*[A-Za-z_]|[)\]]\s*\(")
_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def load_archive(path: Path) -> Any:
    """Return the ExportedProgram of a .pt2 file. Nothing of it is unpickled but tensors.

    Raises UserError for a file that is missing, damaged, or holds code.
    """
    import torch

    _check(path)
    try:
        with _tensors_only():
            return torch.export.load(path)
    except Exception as error:
        raise UserError(
            f"{path}: torch {torch.__version__} cannot read this exported program: {first_line(error)}; export it anew "
            "with torch.export.save of the same version, of tensors only"
        ) from error


def _check(path: Path) -> None:
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(each.file_size for each in entries) > _MOST_EXPANSION * size:
                raise UserError(f"{path}: unpacks to far more than its size: it is damaged, or made to fill the memory")
            for entry in entries:
                if entry.filename.endswith(".json"):
                    _check_json(path, archive, entry)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, zipfile.BadZipFile, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a .pt2 archive of torch.export.save: {first_line(error)}") from error


def _check_json(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    if entry.file_size > _MOST_JSON:
        raise UserError(f"{path}: its part '{entry.filename}' is larger than {_MOST_JSON >> 20} MiB")
    for text in _expressions(json.loads(archive.read(entry))):
        if _STRANGE.search(text) or not all(map(_FUNCTIONS.fullmatch, _CALL.findall(text))):
            raise UserError(f"{path}: an expression over dimensions in it is not one: '{text[:80]}'")


def _expressions(root: Any) -> Iterator[str]:
    stack = [root]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            text = value.get("expr_str")
            if isinstance(text, str):
                yield text
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


@contextmanager
def _tensors_only() -> Iterator[None]:
    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FORCE]
        else:
            os.environ[_FORCE] = before
