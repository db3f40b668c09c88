"""Plan and package: from a scheduled module to an artifact."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...dim_text import parse
from ...errors import UserError
from ...runtime.manifest import HEADER_BYTES, section_bytes
from ...schedules.symbols import symbols_of_kernel
from ...signature import Signature
from ...targets.target import Target
from ...targets.toolchain import find_toolchain
from ...workload import Workload
from ..pipeline import Observer, PhaseEvent
from .artifact import Artifact, Report, disk_full
from .calls import Calls
from .emit_c import emit_plan
from .kernels import Kernel, compile_kernels
from .link import FORMATS, Parts
from .manifest import make_manifest
from .plan import KernelFacts, Plan, make_plan
from .read_calls import read_calls
from .variants import Variant, join_plans, share_weights
from .views import place_inside
from .weights import LARGE_BYTES, data_assembly, write_weights

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.tirx import PrimFunc

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OBJECTS = "kernels"


@dataclass(frozen=True)
class _Planned:
    plan: Plan
    kernels: dict[str, Kernel]
    templates: dict[str, str]


def build(
    module: IRModule,
    signature: Signature,
    *,
    name: str,
    target: Target,
    format: str = "so",  # noqa: A002 - the word users know
    jobs: int = 0,
    observe: Observer | None = None,
    variants: Sequence[Variant] = (),
    toolchain: str | None = None,
) -> Artifact:
    """Make an artifact of a scheduled module.

    Args:
        module: ``main`` over ``call_tir`` of scheduled PrimFuncs, as the schedule phase leaves it.
        signature: names, shapes and types of the model's inputs and outputs, in order.
        name: the model's name, a C identifier.
        format: "so", "static", "obj" or "c".
        jobs: how many processes compile kernels; 0 for one per processor.
        observe: hears of the phases "plan" (with the kernels' compilation) and "package".
        variants: the same model scheduled for fixed sizes, which go into the same library.
        toolchain: the toolchain to take, in place of those of the target's row.

    Raises:
        UserError: no compiler, an unknown format, a name that is no C identifier, or a full disk.
    """
    if not _IDENTIFIER.fullmatch(name):
        raise UserError(f"'{name}' cannot be a model's name: give letters, digits and _, not a digit first")
    link = FORMATS[format]
    found = find_toolchain(target, toolchain)
    folder = tempfile.TemporaryDirectory(prefix="tilewright-", ignore_cleanup_errors=True)
    root = Path(folder.name)
    phases: list[tuple[str, float]] = []

    def timed(phase: str, start: float) -> None:
        phases.append((phase, time.perf_counter() - start))
        if observe:
            observe(PhaseEvent(*phases[-1], None))

    try:
        start = time.perf_counter()
        planned = _plan([Variant((), module), *variants], target, root, jobs)
        timed("plan", start)
        start = time.perf_counter()
        manifest = _write_sources(root, planned, name, signature, target, found.version)
        objects = [kernel.path.relative_to(root).as_posix() for kernel in planned.kernels.values()]
        product = link(Parts(root, name, tuple(dict.fromkeys(objects)), found))
        if product.is_dir():
            (product / "manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
        _drop_all_but(root, product)
        timed("package", start)
    except OSError as error:
        folder.cleanup()
        raise disk_full(error, root.parent) or error from error
    except BaseException:
        folder.cleanup()
        raise
    return Artifact(product, folder, manifest, _report(phases, planned, product))


def _plan(variants: Sequence[Variant], target: Target, root: Path, jobs: int) -> _Planned:
    """Compile the kernels that main calls and lay out memory; scratch is known only once a kernel is lowered.

    The first of the variants is the general one.
    """
    found = [_calls(each.module) for each in variants]
    share_weights(found)
    functions = {
        _unique(call.function, number): variant.module[call.function]
        for number, (variant, calls) in enumerate(zip(variants, found, strict=True))
        for call in calls.kernel_calls()
    }
    (root / _OBJECTS).mkdir()
    kernels = compile_kernels(functions, target, root / _OBJECTS, jobs)
    facts = {name: _facts(kernels[name], function) for name, function in functions.items()}
    templates = {
        kernels[each].symbol: _attribute(function, "template", str, "") for each, function in functions.items()
    }
    plans = []
    for number, calls in enumerate(found):
        own = {call.function: facts[_unique(call.function, number)] for call in calls.kernel_calls()}
        plans.append(make_plan(calls, own))
    special = [(variant.fixed, plan) for variant, plan in zip(variants[1:], plans[1:], strict=True)]
    return _Planned(join_plans(plans[0], special), kernels, templates)


def _unique(function: str, variant: int) -> str:
    """Return the name of a variant's kernel among those of all variants."""
    return f"{function}_for_{variant}" if variant else function


def _calls(module: IRModule) -> Calls:
    found = read_calls(module)
    works = {call.function: _workload(module[call.function]) for call in found.kernel_calls()}
    return place_inside(found, {name: work for name, work in works.items() if work})


def _facts(kernel: Kernel, function: PrimFunc) -> KernelFacts:
    return KernelFacts(
        kernel.symbol,
        kernel.scratch,
        _attribute(function, "flops", float, 0.0),
        _attribute(function, "bytes", float, 0.0),
        tuple(parse(str(each.name)) for each in symbols_of_kernel(function)),
    )


def _workload(function: PrimFunc) -> Workload | None:
    text = _attribute(function, "workload", str, "")
    return Workload.from_json(text) if text else None


def _attribute(function: PrimFunc, key: str, kind: Callable[[Any], Any], default: Any) -> Any:
    value = function.attrs.get(f"tilewright.{key}") if function.attrs else None
    return default if value is None else kind(getattr(value, "value", value))


def _write_sources(
    root: Path, planned: _Planned, name: str, signature: Signature, target: Target, compiler: str
) -> dict[str, Any]:
    """Write plan.c, data.S, weights.bin and manifest.bin; return the manifest."""
    plan = planned.plan
    source = emit_plan(plan, name, target.name, target.features, signature)
    (root / "plan.c").write_text(source, encoding="utf-8")
    weights = write_weights(plan, root / "weights.bin")
    manifest = make_manifest(
        name,
        signature,
        target,
        plan,
        templates=planned.templates,
        compiler=compiler,
        hashes={"weights": weights, "plan": hashlib.sha256(source.encode()).hexdigest()},
    )
    (root / "manifest.bin").write_bytes(section_bytes(manifest))
    large = target.arch == "x86" and plan.weight_bytes > LARGE_BYTES
    (root / "data.S").write_text(data_assembly("weights.bin", "manifest.bin", HEADER_BYTES, large=large))
    return manifest


def _drop_all_but(root: Path, product: Path) -> None:
    """Delete what the product was made of: weights lie in it twice."""
    for path in sorted(root.rglob("*"), reverse=True):
        if path == product or product in path.parents or path in product.parents:
            continue
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()


def _report(phases: list[tuple[str, float]], planned: _Planned, product: Path) -> Report:
    files = [each for each in product.rglob("*") if each.is_file()] if product.is_dir() else [product]
    return Report(
        phases=tuple(phases),
        kernels=len(set(planned.templates)),
        steps=len(planned.plan.steps),
        arena_bytes=planned.plan.arena_bytes,
        weight_bytes=planned.plan.weight_bytes,
        library_bytes=sum(each.stat().st_size for each in files),
    )
