"""Plan and package: from a scheduled module to an artifact."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...dim_text import parse
from ...errors import UserError
from ...schedules.symbols import symbols_of_kernel
from ...signature import Signature
from ...targets.target import Target
from ...workload import Workload
from ..pipeline import Observer, PhaseEvent
from .artifact import Artifact, Report, disk_full
from .calls import Calls
from .kernels import Kernel, compile_kernels
from .lowering import ALIGNMENT, DEVICE_ALIGNMENT
from .plan import KernelFacts, Plan, make_plan
from .products import PRODUCTS, Planned
from .read_calls import read_calls
from .variants import Variant, join_plans, share_weights
from .views import place_inside

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.tirx import PrimFunc

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OBJECTS = "kernels"


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
    in_floats: Sequence[tuple[str, str]] = (),
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
        in_floats: the model's nodes that quantized tensors go into and floats are computed for, each with the reason.

    Raises:
        UserError: no compiler, an unknown format, a name that is no C identifier, or a full disk.
    """
    if not _IDENTIFIER.fullmatch(name):
        raise UserError(f"'{name}' cannot be a model's name: give letters, digits and _, not a digit first")
    finish = PRODUCTS[target.kind](target, format, toolchain)
    folder = tempfile.TemporaryDirectory(prefix="tilewright-", ignore_cleanup_errors=True)
    root = Path(folder.name)
    phases: list[tuple[str, float]] = []

    def timed(phase: str, start: float) -> None:
        phases.append((phase, time.perf_counter() - start))
        if observe:
            observe(PhaseEvent(*phases[-1], None))

    try:
        start = time.perf_counter()
        kernels, templates, plan = _plan([Variant((), module), *variants], target, root, jobs)
        timed("plan", start)
        start = time.perf_counter()
        planned = Planned(root, name, signature, target, plan, kernels, templates, tuple(in_floats))
        product, manifest = finish(planned)
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


def _plan(
    variants: Sequence[Variant], target: Target, root: Path, jobs: int
) -> tuple[dict[str, Kernel], dict[str, str], Plan]:
    """Compile the kernels that main calls and lay out memory; scratch is known only once a kernel is lowered.

    The first of the variants is the general one.
    """
    found = [_calls(each.module, inside=not target.is_gpu) for each in variants]
    share_weights(found)
    functions = {
        _unique(call.function, number): variant.module[call.function]
        for number, (variant, calls) in enumerate(zip(variants, found, strict=True))
        for call in calls.kernel_calls()
    }
    (root / _OBJECTS).mkdir()
    kernels = compile_kernels(functions, target, root / _OBJECTS, jobs)
    facts = {name: _facts(kernels[name], function, target) for name, function in functions.items()}
    templates = {
        kernels[each].symbol: _attribute(function, "template", str, "") for each, function in functions.items()
    }
    plans = []
    for number, calls in enumerate(found):
        own = {call.function: facts[_unique(call.function, number)] for call in calls.kernel_calls()}
        plans.append(make_plan(calls, own, DEVICE_ALIGNMENT if target.is_gpu else ALIGNMENT))
    special = [(variant.fixed, plan) for variant, plan in zip(variants[1:], plans[1:], strict=True)]
    return kernels, templates, join_plans(plans[0], special)


def _unique(function: str, variant: int) -> str:
    """Return the name of a variant's kernel among those of all variants."""
    return f"{function}_for_{variant}" if variant else function


def _calls(module: IRModule, inside: bool) -> Calls:
    """Return a module's calls; ``inside``: without joins and slices that need no kernel, which end at any byte."""
    found = read_calls(module)
    if not inside:
        return found
    works = {call.function: _workload(module[call.function]) for call in found.kernel_calls()}
    return place_inside(found, {name: work for name, work in works.items() if work})


def _facts(kernel: Kernel, function: PrimFunc, target: Target) -> KernelFacts:
    """Return what the plan needs of a kernel; pointers of printed kernels are restricted, so nothing lies in place."""
    in_place = _attribute(function, "in_place", lambda each: tuple(map(int, each)), ()) if target.kind == "llvm" else ()
    return KernelFacts(
        kernel.symbol,
        kernel.scratch,
        _attribute(function, "flops", float, 0.0),
        _attribute(function, "bytes", float, 0.0),
        tuple(parse(str(each.name)) for each in symbols_of_kernel(function)),
        in_place,
    )


def _workload(function: PrimFunc) -> Workload | None:
    text = _attribute(function, "workload", str, "")
    return Workload.from_json(text) if text else None


def _attribute(function: PrimFunc, key: str, kind: Callable[[Any], Any], default: Any) -> Any:
    value = function.attrs.get(f"tilewright.{key}") if function.attrs else None
    return default if value is None else kind(getattr(value, "value", value))


def _drop_all_but(root: Path, product: Path) -> None:
    """Delete what the product was made of: weights lie in it twice."""
    for path in sorted(root.rglob("*"), reverse=True):
        if path == product or product in path.parents or path in product.parents:
            continue
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()


def _report(phases: list[tuple[str, float]], planned: Planned, product: Path) -> Report:
    files = [each for each in product.rglob("*") if each.is_file()] if product.is_dir() else [product]
    return Report(
        phases=tuple(phases),
        kernels=len(set(planned.templates)),
        steps=len(planned.plan.steps),
        arena_bytes=planned.plan.arena_bytes,
        weight_bytes=planned.plan.weight_bytes,
        library_bytes=sum(each.stat().st_size for each in files),
    )
