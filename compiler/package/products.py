"""What a plan and its kernels become, by the kind of target: a linked library, or C for a machine without a system."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.manifest import HEADER_BYTES, section_bytes
from ...signature import Signature
from ...targets.target import Target
from ...targets.toolchain import find_toolchain
from .bare import BareParts, package_bare
from .drivers import DRIVERS
from .emit_c import emit_plan
from .emit_device import emit_device_plan
from .kernels import Kernel
from .link import FORMATS, Parts
from .manifest import make_manifest
from .plan import Plan
from .source.printing import read_printed
from .weights import LARGE_BYTES, data_assembly, write_weights


@dataclass(frozen=True)
class Planned:
    """A model whose kernels are compiled and whose memory is laid out, in a folder.

    Attributes:
        root: the folder.
        kernels: the kernel of every function name; several names may share one.
        templates: the schedule template of every kernel symbol.
        in_floats: as the manifest has it.
    """

    root: Path
    name: str
    signature: Signature
    target: Target
    plan: Plan
    kernels: Mapping[str, Kernel]
    templates: Mapping[str, str]
    in_floats: tuple[tuple[str, str], ...] = ()

    def manifest(self, compiler: str, hashes: Mapping[str, str]) -> dict[str, Any]:
        """Return the manifest."""
        return make_manifest(
            self.name,
            self.signature,
            self.target,
            self.plan,
            templates=self.templates,
            compiler=compiler,
            hashes=hashes,
            in_floats=self.in_floats,
        )


#: From a planned model to the product's path and its manifest.
Finish = Callable[[Planned], tuple[Path, dict[str, Any]]]


def _library(target: Target, format: str, wanted: str | None) -> Finish:  # noqa: A002 - the word users know
    link, toolchain = FORMATS[format], find_toolchain(target, wanted)

    def finish(planned: Planned) -> tuple[Path, dict[str, Any]]:
        manifest = _write_sources(planned, toolchain.version)
        root = planned.root
        objects = [kernel.path.relative_to(root).as_posix() for kernel in planned.kernels.values()]
        return link(Parts(root, planned.name, tuple(dict.fromkeys(objects)), toolchain)), manifest

    return finish


def _write_sources(planned: Planned, compiler: str) -> dict[str, Any]:
    """Write plan.c, data.S, weights.bin and manifest.bin; return the manifest."""
    target = planned.target
    source = emit_plan(planned.plan, planned.name, target.name, target.features, planned.signature)
    return _write_data(planned, compiler, source)


def _write_data(planned: Planned, compiler: str, source: str, program: str = "") -> dict[str, Any]:
    root, plan, target = planned.root, planned.plan, planned.target
    (root / "plan.c").write_text(source, encoding="utf-8")
    weights = write_weights(plan, root / "weights.bin")
    hashes = {"weights": weights, "plan": hashlib.sha256(source.encode()).hexdigest()}
    manifest = planned.manifest(compiler, hashes)
    (root / "manifest.bin").write_bytes(section_bytes(manifest))
    large = target.arch == "x86" and plan.weight_bytes > LARGE_BYTES
    (root / "data.S").write_text(
        data_assembly("weights.bin", "manifest.bin", HEADER_BYTES, large=large, program=program)
    )
    return manifest


def _device(target: Target, format: str, wanted: str | None) -> Finish:  # noqa: A002
    link, toolchain, driver = FORMATS[format], find_toolchain(target, wanted), DRIVERS[target.kind]

    def finish(planned: Planned) -> tuple[Path, dict[str, Any]]:
        root = planned.root
        kernels = {kernel.symbol: read_printed(kernel.path) for kernel in planned.kernels.values()}
        program = driver.program(list(kernels.values()), target)
        (root / "program.bin").write_bytes(program)
        facts = (planned.plan, planned.name, target.name, planned.signature)
        manifest = _write_data(
            planned, toolchain.version, emit_device_plan(*facts, kernels, driver, len(program)), "program.bin"
        )
        return link(Parts(root, planned.name, (), toolchain, driver.sources)), manifest

    return finish


def _bare(target: Target, format: str, wanted: str | None) -> Finish:  # noqa: A002
    def finish(planned: Planned) -> tuple[Path, dict[str, Any]]:
        texts = tuple(kernel.path for kernel in planned.kernels.values())
        parts = BareParts(planned.root, planned.name, planned.plan, planned.signature, planned.target, texts)
        made = package_bare(parts, format, wanted)
        manifest = planned.manifest(made.compiler, {"weights": made.weights})
        if made.code_bytes is not None:
            manifest["bytes"]["code"] = made.code_bytes
        return made.path, manifest

    return finish


#: What prepares the finish of a format, by the kind of target; what is missing is told before any kernel is compiled.
PRODUCTS: Mapping[str, Callable[[Target, str, str | None], Finish]] = {
    "llvm": _library,
    "c": _bare,
    "opencl": _device,
    "cuda": _device,
}
