"""The manifest: what a library says about itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from ... import __version__
from ...atoms import plain
from ...shapes import upper_shape
from ...signature import Signature, TensorSpec
from ...targets.target import Target
from .calls import COPY, SIZE
from .plan import Plan

#: Equals TILEWRIGHT_ABI_VERSION in tilewright.h.
ABI_VERSION = 2


def make_manifest(
    name: str,
    signature: Signature,
    target: Target,
    plan: Plan,
    *,
    templates: Mapping[str, str],
    compiler: str,
    hashes: Mapping[str, str],
    in_floats: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Return the manifest, made of JSON's types. It holds no time, path or machine name: equal inputs, equal manifest.

    Args:
        templates: the schedule template of every kernel symbol.
        compiler: the C compiler's version line.
        hashes: SHA-256 of "weights" and "plan".
        in_floats: nodes that quantized tensors go into and floats are computed for, each with the reason.
    """
    uses = Counter(step.kernel for step in plan.steps if step.kernel not in (COPY, SIZE))
    return {
        "abi_version": ABI_VERSION,
        "name": name,
        "signature": {
            "inputs": [_tensor(each) for each in signature.inputs],
            "outputs": [_tensor(each) for each in signature.outputs],
        },
        "target": {
            "name": target.name,
            "arch": target.arch,
            "triple": target.triple,
            "tvm": {key: list(value) if isinstance(value, tuple) else value for key, value in target.tvm},
            "features": sorted(target.features),
        },
        "versions": {"tilewright": __version__, "tvm": version("apache-tvm"), "compiler": compiler},
        "sha256": dict(hashes),
        "bytes": {"weights": plan.weight_bytes, "arena": plan.arena_bytes},
        "steps": len(plan.steps),
        "kernels": [
            {"symbol": symbol, "template": templates.get(symbol, ""), "steps": count} for symbol, count in uses.items()
        ],
        **({"in_floats": [{"node": node, "reason": reason} for node, reason in in_floats]} if in_floats else {}),
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    described: dict[str, Any] = {"name": spec.name, "shape": list(map(_size, spec.shape)), "dtype": spec.dtype}
    if spec.labels:
        described["labels"] = list(spec.labels)
    return described if spec.is_static else {**described, "largest": list(upper_shape(spec.dims))}


def _size(dim: int | str) -> int | str:
    return dim if isinstance(dim, int) else plain(dim)
