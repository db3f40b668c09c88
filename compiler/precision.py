"""The precisions a model can be compiled in, and what a target makes of them."""

from __future__ import annotations

from ..errors import UserError
from ..targets.target import Target

#: The CPU feature without which a target computes in fp32 instead, by precision and architecture.
_NEEDS = {"fp32": {"": ""}, "bf16": {"x86": "avx512_bf16"}}

PRECISIONS = tuple(_NEEDS)


def effective_precision(precision: str, target: Target, strict: bool = False) -> str:
    """Return the precision that a target computes when it is asked for one: "fp32" where it lacks the instructions.

    Raises UserError instead where ``strict``.
    """
    needed = _NEEDS[precision].get(target.arch if precision != "fp32" else "")
    if needed is not None and (not needed or needed in target.features):
        return precision
    if strict:
        what = f"the CPU feature {needed}" if needed else f"such kernels for {target.arch}"
        raise UserError(
            f"target '{target.name}' has no {precision}: it lacks {what}; name another target or leave out --strict"
        )
    return "fp32"
