"""Toolchains: the C compiler and archiver that link a library for a target.

A target's row names the toolchains to try, best first. Each of them is a row of :data:`TOOLCHAINS`:

===================  ==============================================================================================
native               gcc, cc or clang, where it makes code for the target's architecture; $CC comes first
<GNU triple>         Debian's cross compilers
zig                  the package ``ziglang`` or the program ``zig``: one toolchain for every target, without root;
                     ``zig:2.17`` links for that version of glibc and newer ones, ``zig:musl`` for musl
===================  ==============================================================================================
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import UserError
from ..registry import Registry
from .target import Target

_TIMEOUT_SECONDS = 60
_GLIBC = re.compile(r"2\.\d+")
Command = tuple[str, ...]


@dataclass(frozen=True)
class Toolchain:
    """Programs that make a library.

    Attributes:
        name: the row that was found ("native", "aarch64-linux-gnu", "zig:musl").
        cc: the C compiler's command, words in order.
        ar: the archiver's command.
        version: what the compiler says of its version, in one line.
    """

    name: str
    cc: Command
    ar: Command
    version: str


@dataclass(frozen=True)
class Row:
    """A kind of toolchain.

    Attributes:
        find: from a target and a variant ("" for none) to what is installed here, None where nothing is. Raises
            UserError for a variant that there is not, and for what is there but does not work.
        programs: what it looks for, for people.
        package: how to get it, for people.
    """

    find: Callable[[Target, str], Toolchain | None]
    programs: Callable[[], str]
    package: str


TOOLCHAINS: Registry[Row] = Registry("toolchain")


def find_toolchain(target: Target, wanted: str | None = None) -> Toolchain:
    """Return the first toolchain of a target that is installed and makes code for its architecture.

    Args:
        wanted: a name of TOOLCHAINS, with ":" and a variant for "zig", in place of those of the target's row.

    Raises UserError when none is installed (saying which packages give one), for an unknown name or variant, and when
    ``$CC`` names no program or, on the target's own architecture, makes code for another.
    """
    names = [wanted] if wanted else target.toolchain
    rows = []
    for name in names:
        kind, _, variant = name.partition(":")
        row = TOOLCHAINS[kind]
        rows.append(row)
        if found := row.find(target, variant):
            return found
    tried = ", ".join(row.programs() for row in rows)
    packages = ", or ".join(dict.fromkeys(row.package for row in rows))
    raise UserError(f"no C compiler for {target.triple} was found (tried {tried}): {packages}")


def _add_native() -> None:
    programs = ("gcc", "cc", "clang")

    def find(target: Target, variant: str) -> Toolchain | None:
        _refuse_variant("native", variant)
        for command in _native_commands(programs):
            version = _version(command, target)
            if version is not None:
                return Toolchain("native", command, _archiver("ar", "gcc-ar", "llvm-ar"), version)
            if command == _from_environment() and _is_own(target):
                raise UserError(
                    f"$CC is '{shlex.join(command)}', which is no C compiler for {target.triple}: "
                    "correct it or unset it"
                )
        return None

    def tried() -> str:
        return ", ".join(shlex.join(command) for command in _native_commands(programs))

    TOOLCHAINS.add("native", Row(find, tried, "install gcc and binutils, or name a compiler in $CC"))


def _add_cross(triple: str, package: str) -> None:
    """Add Debian's cross compiler for a triple."""
    program = f"{triple}-gcc"

    def find(target: Target, variant: str) -> Toolchain | None:
        _refuse_variant(triple, variant)
        version = _version((program,), target)
        return Toolchain(triple, (program,), _archiver(f"{triple}-ar"), version) if version is not None else None

    TOOLCHAINS.add(triple, Row(find, lambda: program, f"install Debian's {package}"))


def _add_zig() -> None:
    def find(target: Target, variant: str) -> Toolchain | None:
        triple = _zig_triple(target.triple, variant)
        for program in _zig_programs():
            version = _output(*program, "version")
            if version:
                name = f"zig:{variant}" if variant else "zig"
                return Toolchain(name, (*program, "cc", "-target", triple), (*program, "ar"), f"zig {version}")
        return None

    TOOLCHAINS.add("zig", Row(find, lambda: "zig", "install the Python package ziglang (pip install ziglang)"))


_add_native()
_add_cross("x86_64-linux-gnu", "gcc-x86-64-linux-gnu")
_add_cross("aarch64-linux-gnu", "gcc-aarch64-linux-gnu")
_add_cross("arm-linux-gnueabihf", "gcc-arm-linux-gnueabihf")
_add_cross("riscv64-linux-gnu", "gcc-riscv64-linux-gnu")
_add_cross("arm-none-eabi", "gcc-arm-none-eabi")
_add_zig()


def _refuse_variant(name: str, variant: str) -> None:
    if variant:
        raise UserError(f"toolchain '{name}:{variant}': only 'zig' has variants (zig:musl, zig:2.17)")


def _zig_triple(triple: str, variant: str) -> str:
    """Return the triple as zig has it: musl in place of glibc, or a version of glibc behind it."""
    if not variant:
        return triple
    if variant == "musl":
        return triple.replace("gnu", "musl")
    if _GLIBC.fullmatch(variant):
        return f"{triple}.{variant}"
    raise UserError(f"toolchain 'zig:{variant}': the variant is 'musl' or a version of glibc such as 2.17")


def _zig_programs() -> Iterator[Command]:
    if importlib.util.find_spec("ziglang"):
        yield (sys.executable, "-m", "ziglang")
    yield ("zig",)


def _native_commands(programs: tuple[str, ...]) -> Iterator[Command]:
    if command := _from_environment():
        yield command
    for name in programs:
        yield (name,)


def _from_environment() -> Command:
    try:
        return tuple(shlex.split(os.environ.get("CC", "")))
    except ValueError:
        raise UserError("$CC has an unclosed quotation mark: correct it or unset it") from None


def _is_own(target: Target) -> bool:
    return _architecture(target.triple) == os.uname().machine


def _architecture(triple: str) -> str:
    return triple.split("-")[0]


def _version(command: Command, target: Target) -> str | None:
    """Return the version line of a compiler; None when it does not exist or makes code for another architecture."""
    machine = _output(*command, "-dumpmachine")
    if machine is None or _architecture(machine) != _architecture(target.triple):
        return None
    if machine.endswith("eabihf") != target.triple.endswith("eabihf"):
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


def _archiver(*names: str) -> Command:
    for name in names:
        path = shutil.which(name)
        if path:
            return (path,)
    raise UserError(f"the program '{names[0]}' was not found: install binutils")
