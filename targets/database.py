"""Targets by name: one TOML row per machine, validated when it is read.

A row lies at ``data/<arch>/<name>.toml`` or in a file of the user's. Its keys:

=============  ==========================================================================================
inherits       the row it starts from: a known name, or the path of a ``.toml`` file relative to this one
description    one sentence for people; every row has its own
arch, triple   the family of instruction sets and the GNU triple
tvm            keys of TVM's target dictionary, laid over the parent's
features       CPU features that generated code may use, in Linux's spelling, added to the parent's
facts          the fields of :class:`Facts`, laid over the parent's
toolchain      names of toolchains, best first
=============  ==========================================================================================
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..registry import nearest
from .features import KNOWN_FEATURES
from .target import Facts, Target

_DATA = Path(__file__).parent / "data"
_SUFFIX = ".toml"
_MAX_BYTES = 64 * 1024
_FACTS = tuple(field.name for field in fields(Facts))

_NOWHERE = ", neither of its own nor inherited"

Row = dict[str, Any]


def known_targets() -> list[str]:
    """Return the names of all rows that come with the package, sorted."""
    return sorted(_rows())


def load_target(name_or_path: str) -> Target:
    """Return a target by its name, by the path of a TOML file, or "host" for this machine.

    Raises UserError for an unknown name (with the nearest ones) and for a row that is not valid.
    """
    if name_or_path == "host":
        from .host import host_target

        return host_target()
    if name_or_path in _rows():
        return _load(_rows()[name_or_path])
    path = Path(name_or_path)
    if path.suffix == _SUFFIX or path.parent != Path("."):
        if path.is_file():
            return _load(path)
        raise UserError(f"there is no target file '{path}': give a path that exists or a name of 'tilewright targets'")
    raise UserError(
        f"unknown target '{name_or_path}'{nearest(name_or_path, [*known_targets(), 'host'])}: "
        "'tilewright targets' lists the known ones"
    )


@cache
def _rows() -> dict[str, Path]:
    return {path.stem: path for path in sorted(_DATA.glob(f"*/*{_SUFFIX}"))}


def _load(path: Path) -> Target:
    row = _inherited(path, ())
    missing = [key for key in _KEYS if key not in row and key != "inherits"]
    if missing:
        hint = ", which every file has of its own: add a sentence" if missing == ["description"] else _NOWHERE
        raise UserError(f"{path}: the target has no '{missing[0]}'{hint}")
    missing = [key for key in _FACTS if key not in row["facts"]]
    if missing:
        raise UserError(f"{path}: the target has no 'facts.{missing[0]}'{_NOWHERE}")
    if "kind" not in row["tvm"]:
        raise UserError(f"{path}: the target has no 'tvm.kind'{_NOWHERE}")
    _check_features(path, row)
    _check_triple(path, row)
    return Target(
        name=path.stem,
        description=row["description"],
        arch=row["arch"],
        triple=row["triple"],
        tvm=tuple(sorted((key, _frozen(value)) for key, value in row["tvm"].items())),
        features=frozenset(row["features"]),
        facts=Facts(**row["facts"]),
        toolchain=tuple(row["toolchain"]),
    )


def _check_features(path: Path, row: Row) -> None:
    """Raise UserError for a feature that no library could ever find, which most likely is a typo."""
    known = KNOWN_FEATURES.get(row["triple"].partition("-")[0])
    for feature in row["features"]:
        if known is not None and feature not in known:
            near = nearest(feature, sorted(known))
            where = _line_of(path.read_text(encoding="utf-8"), re.compile(rf"""["']{re.escape(feature)}["']"""))
            raise UserError(f"{path}, line {where}: unknown feature '{feature}' of {row['triple']}{near}")


def _check_triple(path: Path, row: Row) -> None:
    """Raise UserError where kernels would be made for another architecture than what links them."""
    mtriple = row["tvm"].get("mtriple", row["triple"])
    # LLVM names the version of an architecture, too: armv7a-... for arm-...
    if not mtriple.startswith(row["triple"].partition("-")[0]):
        raise UserError(f"{path}: 'tvm.mtriple' is {mtriple}, 'triple' is {row['triple']}: they must agree")


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _inherited(path: Path, heirs: tuple[Path, ...]) -> Row:
    """Return the row of a file laid over the rows it inherits from."""
    if path.resolve() in heirs:
        raise UserError(f"{path}: 'inherits' goes in a circle")
    row = _read(path)
    if "inherits" not in row:
        return {"features": [], **row}
    parent = _inherited(_parent(path, row["inherits"]), (*heirs, path.resolve()))
    parent.pop("description", None)
    laid_over = {
        "tvm": {**parent.get("tvm", {}), **row.get("tvm", {})},
        "facts": {**parent.get("facts", {}), **row.get("facts", {})},
        "features": [*parent["features"], *row.get("features", [])],
    }
    return {**parent, **row, **laid_over}


def _parent(path: Path, name: str) -> Path:
    beside = path.parent / name
    if name.endswith(_SUFFIX) and beside.is_file():
        return beside
    if name not in _rows():
        raise UserError(f"{path}: 'inherits' names the unknown target '{name}'{nearest(name, known_targets())}")
    return _rows()[name]


def _read(path: Path) -> Row:
    """Return a row as it stands in its file, every key and type checked."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{path}: the file has more than {_MAX_BYTES} bytes, which no target needs")
        text = path.read_text(encoding="utf-8")
        row = tomllib.loads(text)
    except OSError as error:
        raise UserError(f"{path}: cannot read the target file: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the target file is not valid TOML: {error}") from None
    _check_table(path, text, "", row, _KEYS)
    _check_table(path, text, "facts.", row.get("facts", {}), dict.fromkeys(_FACTS, _SIZE))
    _check_table(path, text, "tvm.", row.get("tvm", {}), dict.fromkeys(row.get("tvm", {}), _TVM_VALUE))
    return row


class _Type:
    """A check of a value, and how to say what was expected."""

    def __init__(self, expected: str, check: Callable[[Any], bool]) -> None:
        self.expected = expected
        self.check = check


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and each for each in value)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_WORD = _Type("a string that is not empty", lambda value: isinstance(value, str) and bool(value))
_WORDS = _Type("an array of strings that are not empty", _is_words)
_TABLE = _Type("a table", lambda value: isinstance(value, dict))
_SIZE = _Type("a positive integer", _is_size)
_TVM_VALUE = _Type(
    "a string, a positive integer or an array of strings",
    lambda value: _WORD.check(value) or _SIZE.check(value) or _WORDS.check(value),
)
_KEYS = {
    "inherits": _WORD,
    "description": _WORD,
    "arch": _WORD,
    "triple": _WORD,
    "tvm": _TABLE,
    "features": _WORDS,
    "facts": _TABLE,
    "toolchain": _WORDS,
}


def _check_table(path: Path, text: str, prefix: str, table: Row, types: dict[str, _Type]) -> None:
    for key, value in table.items():
        where = f"{path}, line {_line(text, key)}"
        if key not in types:
            raise UserError(f"{where}: unknown key '{prefix}{key}'{nearest(key, sorted(types))}")
        if not types[key].check(value):
            raise UserError(f"{where}: '{prefix}{key}' must be {types[key].expected}, not {value!r}")


def _line(text: str, key: str) -> int:
    """Return the number of the first line that gives a key a value or begins its table; 1 where none is seen."""
    assigned = re.compile(rf"""(^|[\s{{,.\[])["']?{re.escape(key)}["']?\s*[=.\]]""")
    return _line_of(text, assigned)


def _line_of(text: str, pattern: re.Pattern[str]) -> int:
    """Return the number of the first line with a match outside of comments; 1 where there is none."""
    lines = text.splitlines()
    return next((number for number, line in enumerate(lines, 1) if pattern.search(line.partition("#")[0])), 1)
