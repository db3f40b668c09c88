"""The precisions a model can be compiled in, and what a target makes of them."""

from __future__ import annotations

from ..errors import UserError
from ..targets.target import Target

#: CPU features, in Linux's spelling, of which a target must have one, by precision and architecture: bfloat16 gains
#: by products of pairs, float16 by loads and stores that convert. Without its row, or a feature of it, a target
#: computes in fp32.
_NEEDS: dict[str, dict[str, tuple[str, ...]]] = {
    "bf16": {"x86": ("avx512_bf16",)},
    "fp16": {"x86": ("f16c",), "arm": ("asimd", "half")},
}

PRECISIONS = ("fp32", *_NEEDS)


def effective_precision(precision: str, target: Target, strict: bool = False) -> str:
    """Return the precision that a target computes when it is asked for one: "fp32" where it lacks the instructions.

    Raises UserError instead where ``strict``.
    """
    needed = _NEEDS.get(precision, {}).get(target.arch, ())
    if precision == "fp32" or target.features.intersection(needed):
        return precision
    if strict:
        what = f"the CPU feature {' or '.join(needed)}" if needed else f"such kernels for {target.arch}"
        raise UserError(
            f"target '{target.name}' has no {precision}: it lacks {what}; name another target or leave out --strict"
        )
    return "fp32"
