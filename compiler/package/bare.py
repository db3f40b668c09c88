"""Bare C: a model as C11 for machines without an operating system, or as an archive or object compiled from it.

No heap, no threads, no files; the arena is a static array, all scratch included, so one run goes on at a time.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import UserError
from ...signature import Signature
from ...targets.target import Target
from ...targets.toolchain import Toolchain, find_toolchain
from .bare_emit import bare_header, bare_source, weights_header
from .bare_weights import MOST_ARRAY_BYTES, weights_source
from .localize import code_bytes
from .plan import Plan
from .source.printing import read_printed
from .weights import write_weights

FLAGS = ("-std=c11", "-Os", "-ffp-contract=off", "-Wall", "-Wextra")


@dataclass(frozen=True)
class BareParts:
    """What a package of bare C is made of.

    Attributes:
        folder: an empty place to work in.
        texts: the kernels' files, in order.
    """

    folder: Path
    name: str
    plan: Plan
    signature: Signature
    target: Target
    texts: tuple[Path, ...]


@dataclass(frozen=True)
class BareProduct:
    """The finished folder.

    Attributes:
        path: the folder.
        weights: the weights' SHA-256.
        code_bytes: machine code at -Os; None where the target names no compiler.
        compiler: its version line, "" for none.
    """

    path: Path
    weights: str
    code_bytes: int | None
    compiler: str


def package_bare(parts: BareParts, format: str, wanted: str | None = None) -> BareProduct:  # noqa: A002
    """Write the folder of a format: "c" (sources and a CMakeLists.txt), "static" (archive) or "obj" (one object).

    Args:
        wanted: the toolchain to take, in place of those of the target's row.

    Raises UserError for what bare C has not: shared libraries, sizes that a run decides, weights too large for an
    array where there are no sources to choose from.
    """
    _refuse(parts, format)
    product = parts.folder / "product"
    product.mkdir()
    source = _write_sources(parts, product)
    weights = write_weights(parts.plan, product / f"{parts.name}_weights.bin")
    toolchain = find_toolchain(parts.target, wanted) if parts.target.toolchain else None
    code = code_bytes(_compile(parts, product, toolchain, f"{parts.name}.c")) if toolchain else None
    if toolchain:
        _FINISH[format](parts, product, toolchain)
    if format != "c":
        for file in (*source, f"{parts.name}_weights.bin", "CMakeLists.txt", f"{parts.name}_weights.h"):
            (product / file).unlink()
    return BareProduct(product, weights, code, toolchain.version if toolchain else "")


def _refuse(parts: BareParts, format: str) -> None:  # noqa: A002
    name, target = parts.name, parts.target
    if format not in _FINISH:
        formats = "c, static or obj" if target.toolchain else "c"
        raise UserError(f"target '{target.name}' has no shared libraries: give --format {formats}")
    if format != "c" and not target.toolchain:
        raise UserError(f"target '{target.name}' names no compiler: give --format c, or a cortex target")
    dynamic = [each.name for each in (*parts.signature.inputs, *parts.signature.outputs) if not each.is_static]
    if dynamic or parts.plan.variants or any(step.sizes for step in parts.plan.steps):
        which = f"'{dynamic[0]}'" if dynamic else "an intermediate result"
        raise UserError(
            f"model '{name}': the size of {which} is known at run time only: give --input-shapes without ranges"
        )
    if format != "c" and parts.plan.weight_bytes > MOST_ARRAY_BYTES:
        raise UserError(
            f"model '{name}' has {parts.plan.weight_bytes >> 20} MiB of weights, too many for a C array: "
            "give --format c and load its weights file"
        )


def _write_sources(parts: BareParts, product: Path) -> tuple[str, ...]:
    """Write the texts and return the names of the C files."""
    name, plan = parts.name, parts.plan
    texts = [read_printed(path) for path in dict.fromkeys(parts.texts)]
    array = plan.weight_bytes <= MOST_ARRAY_BYTES
    (product / f"{name}.h").write_text(bare_header(plan, name, parts.signature, array))
    (product / f"{name}.c").write_text(bare_source(plan, name, parts.signature, texts, array))
    files = [f"{name}.c"]
    (product / f"{name}_weights.h").write_text(weights_header(plan, name))
    if array and plan.weight_bytes:
        with (product / f"{name}_weights.c").open("w") as file:
            file.write(f'#include "{name}_weights.h"\n\n#include <math.h>\n\n')
            file.writelines(weights_source(plan, name))
        files.append(f"{name}_weights.c")
    (product / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.13)\nproject({name} C)\n\n"
        f"add_library({name} STATIC {' '.join(files)})\nset_target_properties({name} PROPERTIES C_STANDARD 11)\n"
        f"target_include_directories({name} PUBLIC ${{CMAKE_CURRENT_SOURCE_DIR}})\n"
        f"target_link_libraries({name} PUBLIC m)\n"
    )
    return tuple(files)


def target_flags(target: Target) -> tuple[str, ...]:
    """Return the compiler's flags for a target's processor."""
    processor = dict(target.tvm).get("mcpu")
    return (f"-mcpu={processor}", "-mthumb", "-mfloat-abi=hard") if processor else ()


def _compile(parts: BareParts, product: Path, toolchain: Toolchain, source: str) -> Path:
    result = parts.folder / f"{Path(source).stem}.o"
    command = [*toolchain.cc, *FLAGS, *target_flags(parts.target), "-c", source, "-o", str(result)]
    _run(command, product)
    return result


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")


def _objects(parts: BareParts, product: Path, toolchain: Toolchain) -> list[str]:
    sources = [f"{parts.name}.c", f"{parts.name}_weights.c"]
    return [str(_compile(parts, product, toolchain, each)) for each in sources if (product / each).is_file()]


def _archive(parts: BareParts, product: Path, toolchain: Toolchain) -> None:
    _run([*toolchain.ar, "rcsD", f"lib{parts.name}.a", *_objects(parts, product, toolchain)], product)


def _object(parts: BareParts, product: Path, toolchain: Toolchain) -> None:
    flags = target_flags(parts.target)
    made = _objects(parts, product, toolchain)
    _run([*toolchain.cc, *flags, "-r", "-nostdlib", *made, "-o", f"{parts.name}.o"], product)


def _sources_only(parts: BareParts, product: Path, toolchain: Toolchain) -> None:
    """The sources are the product."""


_FINISH: Mapping[str, Callable[[BareParts, Path, Toolchain], None]] = {
    "c": _sources_only,
    "static": _archive,
    "obj": _object,
}
