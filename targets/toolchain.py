"""Toolchains: the C compiler and binutils that link a library for a target."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import UserError
from ..registry import Registry
from .target import Target

_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Toolchain:
    """Programs that make a library.

    Attributes:
        name: the row that was found ("native", "x86_64-linux-gnu").
        cc: the C compiler's command, words in order.
        ar: the archiver's path.
        objcopy: the path of objcopy.
        version: the first line of the compiler's ``--version``.
    """

    name: str
    cc: tuple[str, ...]
    ar: str
    objcopy: str
    version: str


@dataclass(frozen=True)
class Candidates:
    """Where to look for a toolchain: names of programs, best first.

    Attributes:
        environment: the environment variable whose command is tried before ``cc``; "" for none.
    """

    cc: tuple[str, ...]
    ar: tuple[str, ...]
    objcopy: tuple[str, ...]
    environment: str = ""


TOOLCHAINS: Registry[Candidates] = Registry("toolchain")
TOOLCHAINS.add(
    "native", Candidates(("gcc", "cc", "clang"), ("ar", "gcc-ar", "llvm-ar"), ("objcopy", "llvm-objcopy"), "CC")
)
TOOLCHAINS.add(
    "x86_64-linux-gnu", Candidates(("x86_64-linux-gnu-gcc",), ("x86_64-linux-gnu-ar",), ("x86_64-linux-gnu-objcopy",))
)


def find_toolchain(target: Target) -> Toolchain:
    """Return the first toolchain of a target that is installed and makes code for its architecture.

    ``$CC`` comes first where the toolchain is the machine's own. Raises UserError when ``$CC`` names no program or
    makes code for another architecture, and when no compiler or its binutils are found.
    """
    tried: list[str] = []
    for name in target.toolchain:
        row = TOOLCHAINS[name]
        for command in _commands(row):
            tried.append(shlex.join(command))
            version = _version(command, target)
            if version is not None:
                return Toolchain(name, command, _binutil(row.ar), _binutil(row.objcopy), version)
            if row.environment and command == _from_environment(row.environment):
                raise UserError(
                    f"${row.environment} is '{shlex.join(command)}', which is no C compiler for {target.triple}: "
                    "correct it or unset it"
                )
    raise UserError(
        f"no C compiler for {target.triple} was found (tried {', '.join(tried)}): "
        "install gcc and binutils, or name a compiler in $CC"
    )


def _commands(row: Candidates) -> Iterator[tuple[str, ...]]:
    if row.environment and (command := _from_environment(row.environment)):
        yield command
    for name in row.cc:
        yield (name,)


def _from_environment(variable: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(os.environ.get(variable, "")))
    except ValueError:
        raise UserError(f"${variable} has an unclosed quotation mark: correct it or unset it") from None


def _version(command: tuple[str, ...], target: Target) -> str | None:
    """Return the version line of a compiler; None when it does not exist or makes code for another architecture."""
    machine = _output(*command, "-dumpmachine")
    if machine is None or machine.split("-")[0] != target.triple.split("-")[0]:
        return None
    version = _output(*command, "--version")
    return version.splitlines()[0] if version else None


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _binutil(names: tuple[str, ...]) -> str:
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    raise UserError(f"the program '{names[0]}' was not found: install binutils")
