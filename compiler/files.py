"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from ..errors import UserError


def check_writable(path: Path, *, folder: bool = False) -> None:
    """Refuse, before any work is done, a path at which nothing could be written.

    Args:
        folder: whether a folder is to be written, not a file.

    Raises:
        UserError: something of the other kind is there, or the folder around it does not exist or cannot be written.
    """
    if path.is_dir() and not folder:
        raise UserError(f"cannot write '{path}': it is a folder; give the name of a file")
    if path.exists() and not path.is_dir() and folder:
        raise UserError(f"cannot write '{path}': it is a file; give the name of a folder")
    around = path.parent
    if not around.is_dir():
        raise UserError(f"cannot write '{path}': there is no folder '{around}'")
    if not os.access(around, os.W_OK | os.X_OK):
        raise UserError(f"cannot write '{path}': you may not write to the folder '{around.resolve()}'")


def write_file(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Write a file under a temporary name beside it and rename it into place.

    Args:
        write: writes the contents to the open file.

    Raises:
        UserError: the file could not be written; nothing is left behind.
    """
    check_writable(path)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            write(file)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file as ``write_file`` does."""
    write_file(path, lambda file: _write_all(file, text.encode()))


def _write_all(file: IO[bytes], data: bytes) -> None:
    file.write(data)


def _umask() -> int:
    # The mask can only be read by setting it; Linux shows it without that.
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return int(next(line.split()[1] for line in status if line.startswith("Umask:")), 8)
    except (OSError, StopIteration):
        return 0o022
