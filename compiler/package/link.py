"""Link: from plan, runtime, kernels and weights to what the user asked for."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ...errors import UserError
from ...registry import Registry
from ...runtime.manifest import seal
from ...targets.toolchain import Toolchain
from .localize import localize
from .project import cmake_lists, exports, makefile, prefixed_header

#: What a library exports; with the model's name in front where models are linked into one program.
FUNCTIONS = (
    "tilewright_info",
    "tilewright_create",
    "tilewright_set_shapes",
    "tilewright_output_shape",
    "tilewright_run",
    "tilewright_profile",
    "tilewright_error",
    "tilewright_free",
)

# Relative paths only, no debug information, no build id: the result depends on what is compiled and on nothing else.
COMPILE_FLAGS = (
    "-std=c11", "-O2", "-g0", "-fPIC", "-pthread", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections",
)  # fmt: skip
LINK_FLAGS = (
    "-shared", "-pthread", "-Wl,--version-script=exports.map", "-Wl,-z,defs", "-Wl,-z,now", "-Wl,-z,noexecstack",
    "-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,-s",
)  # fmt: skip
LIBRARIES = ("-lm", "-ldl")
_RELOCATABLE_FLAGS = ("-r", "-nostdlib", "-Wl,--build-id=none")


@dataclass(frozen=True)
class Parts:
    """What is linked. All of it lies in one folder, which is also where the compiler runs.

    Attributes:
        folder: the folder; ``plan.c`` and ``data.S`` with the files it takes in lie there.
        name: the model's name, a C identifier.
        objects: the kernels' object files, relative to the folder.
        toolchain: the compiler and the archiver.
        drivers: further C files of the runtime, for a device.
    """

    folder: Path
    name: str
    objects: tuple[str, ...]
    toolchain: Toolchain
    drivers: tuple[str, ...] = ()


#: From parts to the finished file or folder, by the name of the format.
FORMATS: Registry[Callable[[Parts], Path]] = Registry("format")


def copy_runtime(folder: Path, drivers: Sequence[str] = ()) -> list[str]:
    """Copy the runtime's sources and header into a folder, with some drivers; return the names of the C files."""
    root = resources.files(f"{__package__.split('.')[0]}.runtime")
    files = [*root.joinpath("src").iterdir(), root.joinpath("include", "tilewright.h")]
    if drivers:
        devices = root.joinpath("devices").iterdir()
        files += [each for each in devices if each.name in drivers or each.name.endswith(".h")]
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())
    return sorted(file.name for file in files if file.name.endswith(".c"))


@FORMATS.register("so")
def link_shared(parts: Parts) -> Path:
    """Link one shared library that exports the documented functions and nothing else."""
    sources = [*copy_runtime(parts.folder, parts.drivers), "plan.c", "data.S"]
    (parts.folder / "exports.map").write_text(exports(FUNCTIONS))
    library = f"{parts.name}.so"
    inputs = _response_file(parts.folder, parts.objects)
    _run(parts, [*parts.toolchain.cc, *COMPILE_FLAGS, *LINK_FLAGS, *sources, inputs, *LIBRARIES, "-o", library])
    seal(parts.folder / library)
    return parts.folder / library


@FORMATS.register("obj")
def link_object(parts: Parts) -> Path:
    """Link one relocatable object whose only global functions carry the model's name, and a header for it."""
    product = _product(parts)
    _relocatable(parts, product / f"{parts.name}.o")
    return product


@FORMATS.register("static")
def link_static(parts: Parts) -> Path:
    """Put that object into an archive."""
    product = _product(parts)
    member = f"{parts.name}.o"
    _relocatable(parts, parts.folder / member)
    archive = os.path.relpath(product / f"lib{parts.name}.a", parts.folder)
    _run(parts, [*parts.toolchain.ar, "rcsD", archive, member])
    return product


@FORMATS.register("c")
def write_project(parts: Parts) -> Path:
    """Write everything that the shared library is linked from, with a Makefile and a CMakeLists.txt."""
    product = _product(parts)
    sources = [*copy_runtime(product, parts.drivers), "plan.c", "data.S"]
    program = ("program.bin",) if parts.drivers else ()
    for file in ("plan.c", "data.S", "weights.bin", "manifest.bin", *program):
        shutil.move(parts.folder / file, product / file)
    for file in parts.objects:
        (product / file).parent.mkdir(exist_ok=True)
        shutil.move(parts.folder / file, product / file)
    (product / "exports.map").write_text(exports(FUNCTIONS))
    (product / "Makefile").write_text(
        makefile(parts.name, sources, parts.objects, COMPILE_FLAGS, LINK_FLAGS, LIBRARIES)
    )
    (product / "CMakeLists.txt").write_text(
        cmake_lists(parts.name, sources, parts.objects, COMPILE_FLAGS, LINK_FLAGS, LIBRARIES)
    )
    return product


def _product(parts: Parts) -> Path:
    product = parts.folder / "product"
    product.mkdir()
    copy_runtime(parts.folder)
    shutil.copyfile(parts.folder / "tilewright.h", product / "tilewright.h")
    (product / f"{parts.name}.h").write_text(prefixed_header(parts.name))
    return product


def _relocatable(parts: Parts, path: Path) -> None:
    sources = [*copy_runtime(parts.folder, parts.drivers), "plan.c", "data.S"]
    # One by one: zig writes no objects of several sources.
    for source in sources:
        _run(parts, [*parts.toolchain.cc, *COMPILE_FLAGS, f"-DTILEWRIGHT_MODEL={parts.name}", "-c", source])
    inputs = _response_file(parts.folder, [*(f"{Path(source).stem}.o" for source in sources), *parts.objects])
    _run(parts, [*parts.toolchain.cc, *_RELOCATABLE_FLAGS, inputs, "-o", os.path.relpath(path, parts.folder)])
    localize(path, {f"{parts.name}_{function}" for function in FUNCTIONS})


def _response_file(folder: Path, files: Sequence[str]) -> str:
    """Write the names of many files where the compiler reads them: a command line has room for some only."""
    (folder / "inputs.txt").write_text("".join(f"{file}\n" for file in files))
    return "@inputs.txt"


def _run(parts: Parts, command: Sequence[str]) -> None:
    """Run a program in the folder. Raises UserError when the disk is full, RuntimeError for any other failure."""
    environment = {**os.environ, "LC_ALL": "C", "TMPDIR": str(parts.folder)}
    done = subprocess.run(command, cwd=parts.folder, env=environment, capture_output=True, text=True, errors="replace")
    if done.returncode == 0:
        return
    if os.strerror(errno.ENOSPC) in done.stderr or "No space left on device" in done.stderr:
        raise UserError(f"no space is left in '{parts.folder.parent}' to link the library: free some, or set TMPDIR")
    raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
